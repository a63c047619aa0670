"""`python -m zfnet_jax NAME FLAGS...` is `zfnet-jax NAME FLAGS...`."""

from zfnet_jax.entry import main

if __name__ == "__main__":
    main()

import os

# A test process has a core to itself: more threads of NumPy's BLAS wait, busily, for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

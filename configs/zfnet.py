"""ZFNet on ImageNet 2012 with the paper's recipe (Section 3). Every field and default is here.

    python -m scripts.prepare_data --config=configs/zfnet.py
    python -m scripts.train --config=configs/zfnet.py --workdir=runs/zfnet

Not yet run on ImageNet. On 2 CPU cores, with photos from a folder in place of ImageNet, a step of
128 images takes about 8 seconds (20 steps, start-up included, measured 2026-11-24).

The other configs start from this one and change fields. `configs/zfnet.py:alexnet` trains the
Krizhevsky net instead; the names after the colon are those of `architectures.table3()`, `zfnet`
without one.
"""

from __future__ import annotations

from ml_collections import ConfigDict, config_dict

from configs import architectures


def get_config(arg: str = "zfnet") -> ConfigDict:
    """The paper's recipe for a net of Table 3 (`arg`)."""
    nets = architectures.table3()
    if arg not in nets:
        raise ValueError(f"configs/zfnet.py:{arg}: no such net; there are {', '.join(nets)}")
    config = ConfigDict()
    config.seed = 0  # of initial weights, order of images, crops and dropout
    config.rules = ()  # lines on what a config has chosen by itself, said when training starts
    config.model = nets[arg]
    # A net to start from: the folder of a run, or of an import, with ':STEP' behind it if not the
    # newest checkpoint, or ':best', the lowest validation error. Layers that fit are taken over,
    # or those of `init_layers`; `frozen` ones are not trained, and computed as in evaluation.
    config.init_from = ""
    config.init_layers = ()
    config.frozen = ()

    config.data = ConfigDict(
        {
            # 'tfds', 'folder' or 'pictures': which of the next three counts. 'prepared': whatever
            # lies in prepared_dir, for nets that were trained elsewhere.
            "source": "tfds",
            "tfds": {
                "name": "imagenet2012",
                "train": "train",
                "validation": "validation",
                "data_dir": "",  # where TFDS keeps data sets; empty: its own default
                "manual_dir": "",  # where the downloaded ImageNet archives lie
            },
            "folder": {
                "train": "",  # a folder of class folders
                "validation": "",  # another
                "held_out": 0.0,  # or the share of each class in `train` that validation gets
            },
            "pictures": {  # the built-in pictures
                "family": "objects",  # or 'transfer', a disjoint set of classes
                "train_per_class": 0,
                "validation_per_class": 0,
                "seed": 0,
            },
            # What people see the classes called: a file with lines of id, tab and title, such as
            # ImageNet's words.txt, or of titles alone. ILSVRC's WordNet ids need none.
            "class_titles": "",
            "prepared_dir": "data/imagenet",  # prepare_data writes it, training reads it
            "image_size": 256,  # smallest side after resizing, and side of the centre crop kept
            "max_unreadable": 0.001,  # share of photos that may be unreadable
            "streaming": False,  # decode while training instead of reading prepared arrays
            "exclude": "",  # file of training photos to leave out, which scripts.overlap writes
        }
    )
    config.augment = ConfigDict(
        {
            # Side of what the net sees, or (rows, columns).
            "crop": config_dict.FieldReference(224, field_type=object),
            "crops": "ten",  # the paper's ten sub-crops; 'random': any position, and flips
            # Pixels minus the mean are divided by this, or by these, one for red, green and blue.
            "scale": config_dict.FieldReference(1.0, field_type=object),
            # Noise of an image's colour along the principal components of the training set's, in
            # their standard deviations (Krizhevsky et al. 2012, who had 0.1); 0: none.
            "colour": 0.0,
        }
    )
    config.batch_size = 128
    config.eval_batch_size = 128
    config.epochs = 70
    # A run is finished after so many epochs without a lower validation top-1 error; 0: at the last.
    config.early_stopping = 0
    # Between the records of epochs one of so many steps: loss, rate, images/s, waiting; 0: none.
    config.log_every_steps = 100

    config.optimizer = ConfigDict(
        {
            "learning_rate": 1e-2,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "rms_limit": 1e-1,  # of each conv filter after each update; 0: no limit
            "clip_norm": 0.0,  # of the whole gradient, which is scaled down to it; 0: no limit
            "schedule": "plateau",  # 'plateau', 'cosine' or 'constant'
            "plateau": {  # the paper anneals by hand when validation error stops falling
                "factor": 0.1,
                "patience": 5,  # epochs without improvement
                "min_improvement": 1e-3,  # of top-1 error, as a share
                "max_drops": 3,
            },
            # Annealing by hand: (epochs done, factor), ..., each of which multiplies the rate from
            # then on. What lies ahead may be changed between a stop and its resume.
            "drops": (),
            "warmup_epochs": 0.0,
            "scale_with_batch": False,  # learning rate times batch_size / reference_batch
            "reference_batch": 128,
            "label_smoothing": 0.0,
            # 'inverse': images of rare classes count more in the training loss, 1 on average.
            "class_weights": "none",
            "accumulation": 1,  # parts of a batch that are computed one after the other
        }
    )
    config.on_nonfinite = "stop"  # a loss or gradient that is not finite: 'stop' or 'rollback'
    config.rollback = ConfigDict(
        {
            "max_times": 3,  # how often a run may go back to its last checkpoint
            "rate_factor": 0.5,  # the learning rate is multiplied by it each time
        }
    )
    config.check = ConfigDict(
        {
            # A loss that has stood at chance for so many steps is told once, and why; 0: never.
            "standing_steps": 1000,
            "images": 32,  # of the batch that is looked at then, and by `train --check`
            "by_heart_steps": 100,  # in which it is to be learned alone
        }
    )
    config.checkpoint = ConfigDict(
        {
            "keep_latest": 2,
            "keep_best": 1,
            "keep_epochs": (1, 2, 5, 10, 20, 30, 40, 64),  # those of Fig. 4
            "every_steps": 0,  # also between ends of epochs; 0: never
        }
    )
    return config

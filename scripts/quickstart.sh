#!/usr/bin/env bash
# From nothing to a trained net and a picture of what its layers see: installs into .venv, draws the
# built-in pictures, trains a small ZFNet on them on the CPU, and draws what it sees.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

workdir=${1:-runs/quickstart}
began=$SECONDS

echo "1/3  Drawing the pictures"
python -m scripts.prepare_data --config=configs/quickstart.py
echo "2/3  Training"
python -m scripts.train --config=configs/quickstart.py --workdir="$workdir"
echo "3/3  Drawing what the layers see"
for class in face bicycle; do
  python -m scripts.draw_picture --class_name=$class --out="$workdir/$class.png"
  python -m scripts.visualize --workdir="$workdir" --image="$workdir/$class.png" \
    --out="$workdir/layers_of_$class.png"
done

echo "Done in $((SECONDS - began)) s. Open:"
ls "$workdir"/layers_of_*.png
echo "and see the curves with: .venv/bin/python -m tensorboard.main --logdir $workdir/tensorboard"

#!/usr/bin/env bash
# From nothing to a trained net and pictures of what its layers see: installs into .venv, draws the
# built-in pictures, trains a small ZFNet on them on the CPU, and looks inside.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

workdir=${1:-runs/quickstart}
began=$SECONDS

echo "1/5  Drawing the pictures"
python -m scripts.prepare_data --config=configs/quickstart.py
echo "2/5  Training"
python -m scripts.train --config=configs/quickstart.py --workdir="$workdir"
echo "3/5  Drawing what the layers see in one picture"
python -m scripts.draw_picture --class_name=face --seed=21 --out="$workdir/report/face.png"
python -m scripts.visualize --workdir="$workdir" --image="$workdir/report/face.png" \
  --out="$workdir/report/layers_of_face.png"
echo "4/5  Finding what every feature map responds to"
python -m scripts.mine --workdir="$workdir"
python -m scripts.atlas --workdir="$workdir"
echo "5/5  Covering the picture bit by bit: what does the answer depend on?"
python -m scripts.occlusion --workdir="$workdir" --image="$workdir/report/face.png" --label=face

echo "Done in $((SECONDS - began)) s. Open these:"
echo "  $workdir/report/layers_of_face.png   what each layer sees in one picture"
echo "  $workdir/report/atlas/index.html     every feature map, in a browser"
echo "  $workdir/analysis/occlusion/*.png     what the answer depends on"

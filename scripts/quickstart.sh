#!/usr/bin/env bash
# From nothing to a trained net and a report of all that the paper shows: installs into .venv, draws
# the built-in pictures, trains small nets on them on the CPU, and looks inside.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure explore -e ".[explore]"

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
echo "4/5  Training five more small nets, to compare"
python -m scripts.sweep --config=configs/miniature.py --workdir="$workdir-more"
echo "5/5  Reproducing the paper in miniature"
python -m scripts.reproduce --workdir="$workdir" --draft --sweep="$workdir-more" \
  --compare="$workdir-more/zfnet,$workdir-more/alexnet"

echo "Done in $((SECONDS - began)) s. Open these:"
echo "  $workdir/report/index.html           every figure and table of the paper, for this net"
echo "  $workdir/report/atlas/index.html     every feature map"
echo "  $workdir/report/layers_of_face.png   what each layer sees in one picture"
echo "Or drop a photo into the net, and point at what it sees:"
echo "  $venv/bin/python -m scripts.explore --workdir=$workdir"

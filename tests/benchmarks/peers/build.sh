#!/bin/sh
# Build a peer's own environment: build.sh flower|pfl|appfl|flgo FOLDER [PYTHON]
#
# One virtual environment, FOLDER/NAME, with torch, transformers and peft in the
# versions that we use ourselves. None of the peers is a dependency of ours.
set -eu
name=$1 folder=$2 python=${3:-python3.11}
here=$(dirname "$0")

"$python" -m venv "$folder/$name"
install() { "$folder/$name/bin/pip" install --quiet --constraint "$here/constraints.txt" "$@"; }

install torch transformers peft safetensors psutil numpy
case $name in
flower) install "flwr[simulation]" ;;
pfl) install pfl ;;
# Neither without what it asks for and these measurements never touch.
appfl) install --no-deps appfl && install $(cat "$here/appfl.txt") ;;
flgo) install --no-deps flgo && install $(cat "$here/flgo.txt") ;;
*) echo "no peer is called $name" >&2 && exit 2 ;;
esac
"$folder/$name/bin/pip" list --format freeze >"$folder/$name/versions.txt"

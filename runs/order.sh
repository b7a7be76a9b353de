#!/usr/bin/env bash
# What it takes to see the order of frames: the experiment actions-smoke with each decoder, and without a memory.
# About ten minutes for each of the six trainings on one core; then a table, with memories of 1, 4 and 16 frames.
#
#   bash runs/order.sh OUTPUT
set -eu

output=$1

# train NAME [key=value ...]
train() {
  name=$1
  shift
  svit train actions-smoke output="$output/$name" "$@"
}

for decoder in bidirectional causal patch_query mean; do
  train "$decoder" "model.settings.action.decoder=$decoder"
done
# Never a second frame in the encoder: what is left is what the decoder sees of the frame tokens' order.
train bidirectional-alone model.settings.encoder.memory=1
train mean-alone model.settings.encoder.memory=1 model.settings.action.decoder=mean

python runs/order.py "$output"/*/

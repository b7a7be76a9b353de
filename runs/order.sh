#!/usr/bin/env bash
# What it takes to see the order of frames: the experiment actions-smoke with each decoder, and without a memory.
# Each learns first from clips in which one thing moves, then goes on among others that sway to and fro: some ten
# minutes for each of the five on one core. Then a table, with memories of 1, 4 and 16 frames.
#
#   bash runs/order.sh OUTPUT
set -eu

output=$1
data=${DATA:-../shared/data}

# train NAME [key=value ...]
train() {
  name=$1
  shift
  svit train actions-smoke "output=$output/alone/$name" "data.root=$data" "$@"
  svit train actions-smoke "output=$output/$name" "data.root=$data" "$@" schedule.epochs=4 \
    data.actions.synthetic.distractors=2 "model.start=$output/alone/$name/actions-smoke.safetensors"
}

train bidirectional
train causal model.settings.action.decoder=causal
train mean model.settings.action.decoder=mean
train patch_query model.settings.action.decoder=patch_query model.settings.action.token=mean
# No memory and no order: never a second frame in the encoder, and a decoder that averages.
train mean-1 model.settings.encoder.memory=1 model.settings.action.decoder=mean

python runs/order.py "$output"/{bidirectional,causal,mean,patch_query,mean-1}

#!/usr/bin/env bash
# Training, evaluation and tracking in a few minutes on a CPU, with what comes with svit: nothing is downloaded.
#
#     runs/cpu.sh
#
# Beforehand: `make` in this folder, or pip install 'streaming-video-model[train]'. Results go to outputs/cpu; a run
# that was stopped (Ctrl-C) goes on when it is started again. What is learned are eight clips of the sample video by
# heart: it shows that everything works, not how good the method is.
set -eu

output=${OUTPUT:-outputs/cpu}      # everything is written here
epochs=${EPOCHS:-25}               # passes over the eight clips; one is one step
frames=${FRAMES:-235-440}          # of the sample video, to score on: those that the clips were cut from
svit=${SVIT:-svit}                 # the command; `make` puts it into .venv/bin/svit
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}   # torch's threads

cd "$(dirname "$0")/.."
if ! command -v "$svit" > /dev/null; then svit=.venv/bin/svit; fi

# 1. What the model gets to see: pictures of augmented clips, and how many of them a process makes in a second.
mkdir -p "$output"
"$svit" train smoke --preview "$output/clips.png"

# 2. Train. Every setting of an experiment can be changed on the command line; `svit train smoke` prints them all.
#    The pictures are small, 160x96, and so is the input of the model that comes out.
"$svit" train smoke "output=$output/train" \
  "schedule.epochs=$epochs" "schedule.plain_epochs=$epochs"

# 3. Score it on the frames it has seen: a table here, curves and the worst mistakes in eval/report.html.
"$svit" eval sample --part "$frames" --checkpoint "$output/train/smoke.safetensors" -o "$output/eval"

# 4. Use it: a video with boxes and numbers, and the tracks as text.
video=${VIDEO:-src/svit/assets/one-by-one.mp4}
"$svit" track "$video" --model "$output/train/smoke.safetensors" -o "$output/tracks.mp4" --mot "$output/tracks.txt"

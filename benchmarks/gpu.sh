#!/usr/bin/env bash
# All that a GPU is to tell, most wanted first: tests, training with CUDA graphs, translation, R1's pass; then the rest.
#
#   OUT=FOLDER LIMIT=150 PYTHON=python3 benchmarks/gpu.sh
#   DEVICE=cpu SMOKE=1 benchmarks/gpu.sh      the same on tiny networks, to see that everything runs
#
# Results go to OUT (default: benchmarks/results/gpu) as they come: a JSON file for each part, and log.txt with all that
# was printed. A part that fails or is too slow does not stop the next; LIMIT is the seconds for all of them.
# PARTS chooses some: "tests narrow_training training translate r1" are the default, for 150 seconds;
# "step narrow narrow_variants folder compiled narrow_compiled" take LIMIT=600 and more.
set -u
cd "$(dirname "$0")/.."
export OUT="${OUT:-$PWD/benchmarks/results/gpu}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
export TORCHINDUCTOR_CACHE_DIR="${TORCHINDUCTOR_CACHE_DIR:-/tmp/tunit-inductor}"
PYTHON="${PYTHON:-python3}" LIMIT="${LIMIT:-150}" DEVICE="${DEVICE:-cuda}" SMOKE="${SMOKE:-}"
PARTS="${PARTS:-tests narrow_training training translate r1}"
mkdir -p "$OUT"
LOG="$OUT/log.txt"
RESULTS=()

# part NAME SECONDS COMMAND...: logged, with a time limit of its own, while LIMIT lasts.
part() {
    local name="$1" seconds="$2" left=$((LIMIT - SECONDS)) begun=$SECONDS code
    shift 2
    [[ -z "$SMOKE" ]] || seconds=$((10 * seconds)) # a CPU takes longer
    [[ " $PARTS " == *" $name "* ]] || return 0
    if ((left < 10)); then
        RESULTS+=("$name: no time left")
        return 0
    fi
    echo "=== $name, at ${SECONDS} s: $*" | tee -a "$LOG"
    timeout -k 5 "$((seconds < left ? seconds : left))" "$@" >>"$LOG" 2>&1
    code=$?
    RESULTS+=("$name: exit $code after $((SECONDS - begun)) s$( ((code == 124 || code == 137)) && echo ', cut off')")
    echo "${RESULTS[-1]}" | tee -a "$LOG"
    return $code
}

# The metadata that a run's model card reads, where the package is not installed.
if ! "$PYTHON" -c 'import importlib.metadata as m; m.version("open-tunit")' 2>/dev/null; then
    site="$(mktemp -d)"
    mkdir "$site/open_tunit-0.dist-info"
    printf 'Metadata-Version: 2.1\nName: open-tunit\nVersion: %s\n' \
        "$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" >"$site/open_tunit-0.dist-info/METADATA"
    export PYTHONPATH="$PYTHONPATH:$site"
fi
{
    date -u
    nvidia-smi 2>/dev/null
    "$PYTHON" -c 'import sys, torch; print(sys.version, torch.__version__, torch.version.cuda, torch.backends.cudnn.version())'
} >>"$LOG" 2>&1

# Sizes: the paper's networks, the narrow ones, batches of the narrow ones.
PAPER=(--preset paper --size 128 --batch 32) NARROW=(--preset cpu --size 64) BATCHES=(16 64 128)
ROUNDS=3 FEW=12 MANY=60 COUNT=500 TRANSLATED=128
if [[ -n "$SMOKE" ]]; then
    PAPER=(--preset paper --size 32 --batch 2) NARROW=(--preset cpu --size 32) BATCHES=(4)
    ROUNDS=1 FEW=2 MANY=2 COUNT=4 TRANSLATED=32
fi
ON=(--device "$DEVICE")
COMPILED=(compiled graph+compiled)
R1=(r1_tf32 r1_contiguous r1_benchmark)

part tests 75 "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider --durations=5 tests/test_gpu.py
part narrow_training 30 "$PYTHON" benchmarks/gpu_training.py "${NARROW[@]}" --batch "${BATCHES[0]}" "${ON[@]}" \
    --steps "$MANY"
part training 40 "$PYTHON" benchmarks/gpu_training.py "${PAPER[@]}" "${ON[@]}" --steps "$FEW"
part translate 30 "$PYTHON" benchmarks/translate.py --size "$TRANSLATED" "${ON[@]}" --rounds "$ROUNDS"
part r1 40 "$PYTHON" benchmarks/gpu_variants.py "${PAPER[@]}" "${ON[@]}" --rounds "$ROUNDS" --variants "${R1[@]}"
part step 100 "$PYTHON" benchmarks/train_step.py "${PAPER[@]}" "${ON[@]}" --rounds "$ROUNDS" --gradient-batch "$FEW"
part narrow 40 "$PYTHON" benchmarks/train_step.py "${NARROW[@]}" --batch "${BATCHES[0]}" "${ON[@]}" --rounds "$ROUNDS"
part narrow_variants 60 "$PYTHON" benchmarks/gpu_variants.py "${NARROW[@]}" --batch "${BATCHES[@]}" "${ON[@]}" \
    --rounds "$ROUNDS" --variants graph
part folder 60 "$PYTHON" benchmarks/translate.py folder --size "$TRANSLATED" --counts "$COUNT" "${ON[@]}"
part compiled 150 "$PYTHON" benchmarks/gpu_variants.py "${PAPER[@]}" "${ON[@]}" --rounds "$ROUNDS" \
    --variants "${COMPILED[@]}"
part narrow_compiled 150 "$PYTHON" benchmarks/gpu_variants.py "${NARROW[@]}" --batch "${BATCHES[0]}" "${ON[@]}" \
    --rounds "$ROUNDS" --variants "${COMPILED[@]}"

echo "=== summary"
"$PYTHON" benchmarks/gpu_summary.py "$OUT" 2>&1 | tee "$OUT/summary.txt"
printf '%s\n' "${RESULTS[@]}" | tee -a "$OUT/summary.txt"

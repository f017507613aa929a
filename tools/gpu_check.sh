#!/usr/bin/env bash
# Checks Rondo on a machine with a GPU, which needs neither a compiler nor our libraries, only CUDA's
# and a system no older than the one here (glibc and the C++ library):
#
#   tools/gpu_check.sh bundle FILE.tar.xz               here: packs the built programs
#   tools/gpu_check.sh run FILE.tar.xz OUT [STAGE...]   there: runs them, and writes a report
#
# `bundle` takes what `./run test` has built in build/ (or in $BUILD), with its libraries and the
# peers in PyTorch, all in one file of some 45 MB. Where $PEER_PACKAGES names a folder with the
# authors' package (benchmarks/peers/README.md), that comes along.
#
# `run` goes through the stages named, or all of them, in this order:
#   tests      golden vectors, tensors, operations, models, trainers
#   sanitize   compute-sanitizer: memcheck, racecheck, initcheck, on the tests of kernels
#   timings    operations beside a copy and a matrix product
#   training   steps of the 42M and the 108M model in each precision, their speed and memory
#   generation one stream and many
#   peers      the 42M model in PyTorch, where python3 has it
#   curve      200 steps of the quickstart; compare with the same on the CPU
# It writes OUT/report.md, and everything else into OUT/details.tar.gz. RONDO_GPU_CHECK_SECONDS
# (360) is the time it has: what does not fit is left out, and the report says so. A second run may
# take the stages that are left: `tests sanitize`, then the others. The report belongs under
# benchmarks/results, with date and device in its name.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
build=${BUILD:-$root/build}
programs=(rondo tests/core_test tests/ops_test tests/models_test tests/trainers_test
  tests/golden_test benchmarks/gpu_benchmark)

fail() {
  printf 'gpu_check: %s\n' "$*" >&2
  exit 1
}

# The shared libraries of a program, but for what belongs to the system (its C++ library among it,
# for that of another system may want another glibc) or comes with CUDA.
libraries_of() {
  ldd "$1" | awk '$3 ~ /^\// { print $3 }' |
    grep -vE '/(ld-linux[-a-z0-9_]*|lib(c|m|dl|rt|pthread|resolv|stdc\+\+|gcc_s|cuda))\.so' |
    grep -vE '/lib(cublas|cudnn|nvidia)[^/]*$' || true
}

bundle() {
  local file=$1 staging program
  staging=$(mktemp -d)
  mkdir -p "$staging/rondo/bin" "$staging/rondo/lib"
  for program in "${programs[@]}"; do
    [[ -x $build/$program ]] || fail "$build/$program is missing; build it first: ./run test -N"
    cp "$build/$program" "$staging/rondo/bin/"
    libraries_of "$build/$program" | xargs -r -I{} cp -Ln {} "$staging/rondo/lib/"
  done
  strip --strip-unneeded "$staging"/rondo/bin/* "$staging"/rondo/lib/* 2>/dev/null || true
  cp -r "$root/configs" "$root/tests/golden" "$root/benchmarks/peers" "$staging/rondo/"
  cp "$root/tools/gpu_check.sh" "$staging/rondo/"
  [[ -z ${PEER_PACKAGES:-} ]] || cp -r "$PEER_PACKAGES" "$staging/rondo/packages"
  local strange
  strange=$(for program in "$staging"/rondo/bin/*; do
    LD_LIBRARY_PATH=$staging/rondo/lib ldd "$program"
  done | awk -v ours="$staging" '$3 ~ /^\// && index($3, ours) != 1 { print $1 }' | sort -u |
    grep -vE '^lib(c|m|dl|rt|pthread|resolv|stdc\+\+|gcc_s)\.so' || true)
  [[ -z $strange ]] || fail "these libraries were left out: $strange"
  tar -C "$staging" -cJf "$file" rondo
  rm -rf "$staging"
  printf 'gpu_check: %s, %s\n' "$file" "$(du -h "$file" | cut -f 1)"
}

started=$SECONDS
limit=${RONDO_GPU_CHECK_SECONDS:-360}
left() { echo $((limit - (SECONDS - started))); }

say() { printf '%s\n' "$@" | tee -a "$out/report.md"; }

# section TITLE SECONDS COMMAND...: runs it for at most so long, or as long as is left, and reports
# how it ended with the last lines it printed. The whole output goes to the details.
section() {
  local title=$1 most=$2 log status=0 began=$SECONDS
  shift 2
  log=$details/$(tr -c 'a-zA-Z0-9\n' '_' <<<"$title").log
  say "" "## $title" ""
  if (($(left) < 10)); then
    say "NOT RUN: no time left."
    return
  fi
  ((most <= $(left))) || most=$(left)
  timeout -k 5 "$most" "$@" >"$log" 2>&1 || status=$?
  ((status != 0)) || ! grep -q '^No tests ran' "$log" || status=4
  local ended="exit status $status"
  ((status != 0)) || ended="passed"
  ((status != 124 && status != 137)) || ended="STOPPED after $most s"
  ((status == 0)) || failed+=("$title: $ended")
  say "\`${*//$here\//}\`: $ended, $((SECONDS - began)) s" "" '```'
  # A failed check is followed by others: the first says the most.
  ((status == 0)) || grep -m 40 -nE 'FAILED|[Ee]rror|expected|with expansion|=========' "$log" |
    head -n "${lines:-40}" | cut -c 1-200 | tee -a "$out/report.md" || true
  tail -n "${lines:-12}" "$log" | cut -c 1-160 | tee -a "$out/report.md"
  say '```'
}

# Adds the folder of a library of CUDA's to LD_LIBRARY_PATH where the loader would not find it: CUDA
# has its own, and PyTorch's packages bring one.
find_library() {
  local name=$1 found
  [[ $(ldconfig -p 2>/dev/null) != *"$name"* ]] || return 0
  found=$(find -L ${LD_LIBRARY_PATH//:/ } /usr/local/cuda/lib64 \
    $(LD_LIBRARY_PATH=$system_libraries python3 -c 'import nvidia; print(*nvidia.__path__)' \
      2>/dev/null) \
    -name "$name" -print -quit 2>/dev/null || true)
  if [[ -n $found ]]; then
    export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:${found%/*}
    say "$name: in ${found%/*}"
  else
    say "$name: NOT FOUND"
    failed+=("$name was not found")
  fi
}

# tests TITLE SECONDS PROGRAM SPEC: a section of tests. After a kernel has failed, a program ends and
# names the test (tests/support/main.cpp): that one runs once more by itself, so that the guilty
# operation is named, and then the others without it.
tests() {
  local title=$1 most=$2 program=$3 base=$4 spec=$4 without="" attempt lost log
  for attempt in "" ", second try" ", third try"; do
    section "$title$attempt" "$most" "$program" "$spec"
    log=$details/$(tr -c 'a-zA-Z0-9\n' '_' <<<"$title$attempt").log
    lost=$(sed -n 's/^GPU LOST in "\(.*\)": .*/\1/p' "$log" 2>/dev/null | sed 's/[][,\\]/\\&/g' || true)
    [[ -n $lost ]] || return 0
    section "$title$attempt, the test that lost the GPU" 30 env CUDA_LAUNCH_BLOCKING=1 \
      "$program" "$lost"
    without+="~\"$lost\""
    spec=${base//,/"$without",}$without
  done
}

stage_tests() {
  section "Golden vectors" 60 "$here/bin/golden_test" "$here/golden"
  tests "Tensors" 60 "$here/bin/core_test" '[gpu]'
  tests "Operations" 120 "$here/bin/ops_test" '~[cpu]'
  tests "Models" 120 "$here/bin/models_test" '~[cpu]'
  tests "Trainers" 120 "$here/bin/trainers_test" \
    '[gpu],[segment_feed],[lm_stepper],[resume],[evaluation],[benchmark]'
  # Their tests pass without it.
  ! grep -q "skipped: no cuDNN" "$details"/Operations*.log || failed+=("cuDNN was not tested")
}

stage_timings() {
  lines=60 section "Timings of operations" 90 "$here/bin/gpu_benchmark" \
    --json "$details/gpu_benchmark.json"
}

stage_training() {
  local size precision
  for size in 42m 108m; do
    for precision in bf16 tf32 f16 f32; do
      lines=30 section "Training steps, $size $precision" 45 "$here/bin/rondo" bench train \
        "$here/configs/enwik8_$size.yaml" --set run.device=cuda --set data.corpus=builtin \
        --set "training.precision=$precision" --json "$details/bench_train_${size}_$precision.json"
    done
  done
}

stage_curve() {
  section "Quickstart, 200 steps" 60 "$here/bin/rondo" train "$here/configs/quickstart.yaml" \
    --set run.device=cuda --set training.steps=200 --set "run.folder=$details/quickstart"
}

stage_generation() {
  local streams
  for streams in 1 16; do
    section "Generation, 42m, $streams at once" 45 "$here/bin/rondo" bench generate \
      "$here/configs/enwik8_42m.yaml" --set run.device=cuda --set data.corpus=builtin \
      --streams "$streams" --json "$details/bench_generate_42m_$streams.json"
  done
}

# On the system's own libraries, without those that we bring.
peer() {
  section "PyTorch, $1 42m $2" 120 env LD_LIBRARY_PATH="$system_libraries" \
    PYTHONPATH="$here/packages" python3 "$here/peers/bench_train.py" --device cuda --model "$1" \
    --size 42m --batch 24 --dtype "$2" --json "$details/peer_$1_$2.json"
}

stage_peers() {
  peer srupp bf16
  [[ ! -d $here/packages/sru ]] || peer reference_srupp tf32
  peer srupp tf32
}

# Without cuBLASLt's and cuDNN's own tests, which would take the time. Initcheck must see their
# kernels all the same, or what they write would count as never written; the others look at ours
# alone, where they can be told.
stage_sanitize() {
  local tool ours=()
  [[ $(compute-sanitizer --help 2>&1 || true) != *--kernel-regex* ]] || ours=(--kernel-regex kns=rondo)
  export RONDO_CUDA_NO_CACHE=1 # they know nothing of blocks inside of blocks
  for tool in memcheck racecheck initcheck; do
    [[ $tool != initcheck ]] || ours=()
    section "compute-sanitizer $tool" 100 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "${ours[@]}" "$here/bin/ops_test" '[gpu]~[gemm]~[lstm]'
  done
  unset RONDO_CUDA_NO_CACHE
}

run() {
  local file=$1 stage
  out=$2
  shift 2
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  here=$(mktemp -d)
  details=$here/details
  mkdir "$details"
  failed=()
  tar -C "$here" -xJf "$file"
  here=$here/rondo
  system_libraries=${LD_LIBRARY_PATH:-}
  export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export PATH=$PATH:/usr/local/cuda/bin RONDO_TEST_DEVICE=cuda OMP_WAIT_POLICY=passive
  export CUBLASLT_LOG_LEVEL=1 # errors, with their reasons
  : >"$out/report.md"
  say "# GPU check, $(date -u +%Y-%m-%d)" ""
  say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || printf "nvidia-smi is not here")"
  find_library libcublasLt.so.13
  find_library libcudnn.so.9
  cd "$here"
  # What can be wrong first, what takes long last.
  (($# > 0)) || set -- tests sanitize timings training generation peers curve
  for stage in "$@"; do
    "stage_$stage"
  done
  say "" "## Failed" "" "${failed[@]:-nothing}"
  rm -rf "$details"/quickstart/checkpoints
  tar -C "$details" -czf "$out/details.tar.gz" .
  rm -rf "$(dirname "$here")"
  printf 'gpu_check: %s s; the report is %s/report.md\n' "$((SECONDS - started))" "$out"
}

case ${1:-} in
  bundle) [[ $# -eq 2 ]] || fail "usage: tools/gpu_check.sh bundle FILE.tar.xz"; bundle "$2" ;;
  run)
    [[ $# -ge 3 ]] || fail "usage: tools/gpu_check.sh run FILE.tar.xz OUT [STAGE...]"
    for stage in "${@:4}"; do
      declare -F "stage_$stage" >/dev/null || fail "no stage is called $stage"
    done
    run "${@:2}"
    ;;
  *) sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//' ;;
esac

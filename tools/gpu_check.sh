#!/usr/bin/env bash
# Checks Rondo on a machine with a GPU, which needs neither a compiler nor our libraries, only CUDA's
# and a system as new as Ubuntu 22.04 (glibc 2.35, the C++ library of GCC 12):
#
#   tools/gpu_check.sh bundle FILE.tar.xz               here: packs the built programs
#   tools/gpu_check.sh run FILE.tar.xz OUT [STAGE...]   there: runs them, and writes a report
#
# `bundle` takes what `./run test` has built in build/ (or in $BUILD), with its libraries and the
# peers in PyTorch, all in one file of some 20 MB.
#
# `run` goes through the stages named, or all of them, in this order:
#   tests      golden vectors, tensors, operations, models, trainers
#   timings    operations beside a copy and a matrix product
#   training   steps of the 42M and the 108M model in each precision, their speed and memory
#   curves     200 steps of the quickstart on the CPU and on the GPU
#   generation one stream and many
#   peers      the 42M model in PyTorch, where python3 has it
#   sanitize   compute-sanitizer: memcheck, racecheck, initcheck, on the tests of kernels
# It writes OUT/report.md, and everything else into OUT/details.tar.gz. RONDO_GPU_CHECK_SECONDS
# (360) is the time it has: what does not fit is left out, and the report says so. A second run may
# take the stages that are left. The report belongs under benchmarks/results, with date and device
# in its name.
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
    grep -vE '/(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libstdc\+\+|libgcc_s|libcuda|libcublas|libcudnn|libnvidia)[-.a-zA-Z_]*\.so' || true
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
  ! ldconfig -p | grep -q "$name" || return 0
  found=$(find -L ${LD_LIBRARY_PATH//:/ } /usr/local/cuda/lib64 \
    $(python3 -c 'import nvidia; print(*nvidia.__path__)' 2>/dev/null) \
    -name "$name" -print -quit 2>/dev/null || true)
  if [[ -n $found ]]; then
    export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:${found%/*}
    say "$name: in ${found%/*}"
  else
    say "$name: NOT FOUND"
  fi
}

stage_tests() {
  section "Golden vectors" 60 "$here/bin/golden_test" "$here/golden"
  section "Tensors" 60 "$here/bin/core_test" '[gpu]'
  section "Operations" 120 "$here/bin/ops_test" '~[cpu]'
  section "Models" 120 "$here/bin/models_test" '~[cpu]'
  section "Trainers" 120 "$here/bin/trainers_test" '[gpu]'
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

stage_curves() {
  local device
  for device in cuda cpu; do
    section "Quickstart, 200 steps on $device" 120 "$here/bin/rondo" train \
      "$here/configs/quickstart.yaml" --set "run.device=$device" --set training.steps=200 \
      --set "run.folder=$details/quickstart_$device"
  done
}

stage_generation() {
  section "Generation, 42m" 60 "$here/bin/rondo" bench generate "$here/configs/enwik8_42m.yaml" \
    --set run.device=cuda --set data.corpus=builtin --json "$details/bench_generate_42m.json"
}

# On the system's own libraries, without those that we bring.
stage_peers() {
  local precision
  for precision in bf16 tf32; do
    section "PyTorch, 42m $precision" 120 env LD_LIBRARY_PATH="$system_libraries" \
      python3 "$here/peers/bench_train.py" --device cuda --model srupp --size 42m --batch 24 \
      --dtype "$precision" --json "$details/peer_srupp_$precision.json"
  done
}

stage_sanitize() {
  local tool
  for tool in memcheck racecheck initcheck; do
    section "compute-sanitizer $tool" 150 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$here/bin/ops_test" '[gpu]'
  done
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
  : >"$out/report.md"
  say "# GPU check, $(date -u +%Y-%m-%d)" ""
  say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || printf "nvidia-smi is not here")"
  find_library libcublasLt.so.13
  find_library libcudnn.so.9
  cd "$here"
  # What can be wrong first, what takes long last.
  (($# > 0)) || set -- tests timings training curves generation peers sanitize
  for stage in "$@"; do
    "stage_$stage"
  done
  say "" "## Failed" "" "${failed[@]:-nothing}"
  rm -rf "$details"/quickstart_*/checkpoints
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

#!/usr/bin/env bash
# Checks Rondo on a machine with a GPU, which needs neither a compiler nor our libraries, only CUDA's
# and a system as new as Ubuntu 22.04 (glibc 2.35, the C++ library of GCC 12):
#
#   tools/gpu_check.sh bundle FILE.tar.xz     here: packs the built programs with their libraries
#   tools/gpu_check.sh run FILE.tar.xz OUT    there: tests, sanitizers, short trainings, timings
#
# `bundle` takes what `./run test` has built in build/ (or in $BUILD), all in one file of some 20 MB.
# `run` writes OUT/report.md, and the figures as JSON beside it. RONDO_GPU_CHECK_SECONDS (540) is the
# time it has: what does not fit is left out, and the report says so. The report belongs under
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
  cp -r "$root/configs" "$root/tests/golden" "$staging/rondo/"
  cp "$root/tools/gpu_check.sh" "$staging/rondo/"
  tar -C "$staging" -cJf "$file" rondo
  rm -rf "$staging"
  printf 'gpu_check: %s, %s\n' "$file" "$(du -h "$file" | cut -f 1)"
}

started=$SECONDS
limit=${RONDO_GPU_CHECK_SECONDS:-540}
left() { echo $((limit - (SECONDS - started))); }

say() { printf '%s\n' "$@" | tee -a "$out/report.md"; }

# section TITLE SECONDS COMMAND...: runs it for at most so long, or as long as is left, and reports
# how it ended with the last lines it printed. The whole output stays in OUT.
section() {
  local title=$1 most=$2 log status=0 began=$SECONDS
  shift 2
  log=$out/$(tr -c 'a-zA-Z0-9\n' '_' <<<"$title").log
  say "" "## $title" ""
  if (($(left) < 10)); then
    say "NOT RUN: no time left."
    return
  fi
  ((most <= $(left))) || most=$(left)
  timeout "$most" "$@" >"$log" 2>&1 || status=$?
  local ended="exit status $status"
  ((status != 0)) || ended="passed"
  ((status != 124)) || ended="STOPPED after $most s"
  say "\`${*//$here\//}\`: $ended, $((SECONDS - began)) s" "" '```'
  tail -n "${lines:-12}" "$log" | cut -c 1-160 | tee -a "$out/report.md"
  say '```'
}

run() {
  local file=$1
  out=$2
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  here=$(mktemp -d)
  tar -C "$here" -xJf "$file"
  here=$here/rondo
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib
  export PATH=$PATH:/usr/local/cuda/bin RONDO_TEST_DEVICE=cuda OMP_WAIT_POLICY=passive
  : >"$out/report.md"
  say "# GPU check, $(date -u +%Y-%m-%d)" ""
  say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || printf "nvidia-smi is not here")"
  cd "$here"

  # What can be wrong first, what takes long last.
  section "Golden vectors" 60 "$here/bin/golden_test" "$here/golden"
  section "Tensors" 60 "$here/bin/core_test" '[gpu]'
  section "Operations" 120 "$here/bin/ops_test" '~[cpu]'
  section "Models" 120 "$here/bin/models_test" '~[cpu]'
  section "Trainers" 120 "$here/bin/trainers_test" '[gpu]'
  lines=60 section "Timings of operations" 90 "$here/bin/gpu_benchmark" \
    --json "$out/gpu_benchmark.json"

  local size precision device
  for size in 42m 108m; do
    for precision in f32 tf32 bf16 f16; do
      lines=30 section "Training steps, $size $precision" 45 "$here/bin/rondo" bench train \
        "$here/configs/enwik8_$size.yaml" --set run.device=cuda --set data.corpus=builtin \
        --set "training.precision=$precision" --json "$out/bench_train_${size}_$precision.json"
    done
  done
  for device in cpu cuda; do
    section "Quickstart, 200 steps on $device" 120 "$here/bin/rondo" train \
      "$here/configs/quickstart.yaml" --set "run.device=$device" --set training.steps=200 \
      --set "run.folder=$out/quickstart_$device"
  done
  local tool
  for tool in memcheck racecheck initcheck; do
    section "compute-sanitizer $tool" 240 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$here/bin/ops_test" '[gpu]'
  done
  rm -rf "$out"/quickstart_*/checkpoints "$(dirname "$here")"
  printf 'gpu_check: the report is %s/report.md\n' "$out"
}

case ${1:-} in
  bundle) [[ $# -eq 2 ]] || fail "usage: tools/gpu_check.sh bundle FILE.tar.xz"; bundle "$2" ;;
  run) [[ $# -eq 3 ]] || fail "usage: tools/gpu_check.sh run FILE.tar.xz OUT"; run "$2" "$3" ;;
  *) sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//' ;;
esac

#!/usr/bin/env bash
# Runs every example and checks what it prints. From the root of the workspace: bash examples/check.sh
#
# EXAMPLES=FOLDER names a folder that has the programs already, as `target/debug/examples` after `cargo test`.
set -euo pipefail

unset PROCESSION_START_METHOD
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
if [ -z "${EXAMPLES:-}" ]; then
    cargo build --release --quiet -p procession-examples --examples
    EXAMPLES=${CARGO_TARGET_DIR:-target}/release/examples
fi

# run NAME [ARGUMENT..]: what it prints goes to a file that `has` and `lacks` look into. Standard error has to be empty, except after
# `stderr=any`.
run() {
    name=$1
    shift
    echo "example $name"
    if ! timeout 120 "$EXAMPLES/$name" "$@" >"$out/$name" 2>"$out/$name.err"; then
        cat "$out/$name" "$out/$name.err"
        echo "example $name failed"
        exit 1
    fi
    if [ -s "$out/$name.err" ] && [ "${stderr:-empty}" = empty ]; then
        cat "$out/$name.err"
        echo "example $name wrote to standard error"
        exit 1
    fi
}

# has PATTERN: a line matches the extended regular expression.
has() {
    if ! grep -Eq -- "$1" "$out/$name"; then
        cat "$out/$name"
        echo "example $name printed no line like: $1"
        exit 1
    fi
}

# png FILE: is there, and is a picture.
png() {
    if [ "$(head -c 4 "$1" | tail -c 3)" != PNG ]; then
        echo "example $name made no picture $1"
        exit 1
    fi
}

run quickstart
has '^\[0, 1, 4, 9, 16, 25, 36, 49, 64, 81\]$'

run word_count
has '^ +[0-9]+  [a-z]+$'
has '^[0-9]{2,} files, [0-9]{6,} bytes, [0-9]{4,} distinct words$'
has '^[0-9.]+ s with [0-9]+ workers, [0-9.]+ s in this process alone$'
has '^speed-up [0-9.]+$'
mkdir "$out/texts" "$out/texts/target"
echo 'one two two' >"$out/texts/a"
echo 'Two, three!' >"$out/texts/b"
printf 'two\0two' >"$out/texts/binary"
echo 'two' >"$out/texts/target/skipped"
run word_count "$out/texts"
has '^ +3  two$'
has '^2 files, 24 bytes, 3 distinct words$'

run ash_maps "$out/maps"
has '^300 maps in [0-9.]+m?s, see .*/contact_sheet.png$'
has '^the highest of 300 peaks is [0-9.]+ mg/m³, in .*/[0-9]{2}km_[0-9]{2}h.png$'
png "$out/maps/contact_sheet.png"
png "$out/maps/06km_45h.png"
[ "$(find "$out/maps" -name '*km_*h.png' -size +2k | wc -l)" = 300 ]

run scoreboard
has '^ann is on the way$'
has '^\[\("ann", [0-9]+\), .*\]$'
has '^(ann|ben|cleo|dan) wins after \[[0-9]+, [0-9]+, [0-9]+, [0-9]+\] throws$'
has '^actor method `.*Scoreboard::burn`: its actor died before it answered; the call may have run$'

run image_pipeline "$out/pictures"
has '^60 frames, [0-9]{7,} bytes of PNG in .*/frames$'
has '^at most ([1-9]|1[0-9]) frames were ahead of the files$'
png "$out/pictures/frames/000.png"
png "$out/pictures/frames/059.png"
png "$out/pictures/frames/sheet.png"

run model_server
has '^initializer: two workers ready after '
has '^preload: two workers ready after '
has '^  [0-9]+ requests a second, median [0-9.]+[mµn]?s, 99 % within [0-9.]+[mµn]?s$'
# Each worker has loaded its own model; then all have the one that another process loaded.
loaded() {
    sed -n "/^$1/,/^preload/p" "$out/$name" | grep -E '^  worker' |
        sed -E 's/^  worker ([0-9]+) served [0-9]+ requests, model loaded in process ([0-9]+)$/\1 \2/'
}
[ "$(loaded initializer | awk '$1 == $2' | wc -l)" = 2 ]
[ "$(loaded preload | awk '$1 != $2 { print $2 }' | uniq -c | awk '{ print $1 }')" = 2 ]

run crash_recovery
has '^   20  Segfault   Signaled: .* killed by signal 11 \(SIGSEGV\); it was tried 2 times$'
has '^   50  Abort      Signaled: .* killed by signal 6 \(SIGABRT\); it was tried 2 times$'
has '^   80  Exit       Exited: .* exited with code 3; it was tried 2 times$'
has '^  110  Panic      Panicked: .* no data for this day, at examples/crash_recovery.rs:[0-9]+:[0-9]+$'
has '^  130  Overflow   Signaled: .* its stack overflowed; it was tried 2 times$'
has '^  150  Stuck      TimedOut: '
has '^  180  CrashOnce  value 1$'
has '^194 of 200 jobs finished$'
has '^the pool goes on: 1 \+ \.\. \+ 10 = 55$'

run pipeline
has '^100000 lines read, 100000 counted$'
has '^fox    [0-9]+$'
[ "$(awk 'NR > 1 { sum += $2 } END { print sum }' "$out/pipeline")" = 700000 ]

run echo_server
[ "$(grep -c '^hello [0-9] from a worker$' "$out/echo_server")" = 10 ]
has '^10 connections served$'

run shared_array "$out/picture.pgm"
has '^12000000 pixels from [1-9][0-9]+ to 1[0-9]{2}$'
has '^stretched from 0 to 255$'
[ "$(wc -c <"$out/picture.pgm")" = 12000017 ]

# interrupt: is sent SIGINT once it works.
name=interrupt
echo "example $name"
timeout --foreground 60 "$EXAMPLES/interrupt" >"$out/$name" 2>"$out/$name.err" &
watched=$!
for _ in $(seq 200); do
    if grep -q '^counting' "$out/$name"; then break; fi
    sleep 0.05
done
sleep 1
kill -INT "$(pgrep -P "$watched" -x interrupt)"
if ! wait "$watched" || [ -s "$out/$name.err" ]; then
    cat "$out/$name" "$out/$name.err"
    echo "example $name did not end well"
    exit 1
fi
has '^interrupted: [1-9][0-9]* inputs taken back in [0-9.]+(µs|ms|s)$'
has '^[1-9][0-9]* results kept$'
has '^[0-9]+ primes below [0-9]+0$'

run insights
has '^the longest sequence below 1,000,000 starts at 837799 and has 524 steps$'
has '^pool `numbers`: 4 workers \(.*\)'
has '^  .*insights::factors +1000 +0 '
has '^  share( +[0-9.]+ %){5}$'
has '^timeline: .*/numbers.svg$'
head -c 5 "${TMPDIR:-/tmp}/numbers.svg" | grep -q '<svg '
rm "${TMPDIR:-/tmp}/numbers.svg" "${TMPDIR:-/tmp}/numbers.pftrace"

run logging
has '^INFO  worker [0-9]+ input 0: resizing a.png$'
has '^WARN  worker [0-9]+ input 1: b.png gets larger$'
has '^INFO  worker [0-9]+ input 2: this file crashes the library that reads it$'
has '^b.png: 1600 pixels$'
has '^broken.png: .*SIGABRT'

# Where standard error is not a terminal, lines take the place of bars.
stderr=any run progress
has '^\[documents worker [0-9]+ .*count 25\] page 25 has a picture$'
has '^40 of 40 files are done$'
has '^4 files are damaged, 295 words counted$'

run async_tokio
has '^200 pages with 1100 words$'
has '^[0-9.]+ s, one after the other at least 10 s$'
has '^the page that never comes: None$'

run nested
has '^the longest sequence below 8001 has 261 steps$'
has '^[12] outer and [2-5] inner worker processes$'
has '^lost: 4321: Signaled$'
if [ "$(grep -c '^lost' "$out/$name")" != 1 ]; then
    cat "$out/$name"
    echo "example $name lost more than one input"
    exit 1
fi

run dashboard 1
has '^open http://127.0.0.1:[0-9]+/\?token=[0-9a-f]{32}$'
has '^round 1: pi is about 3\.1[0-9]+, 3 pages failed$'

# With its feature the library is another one, which .ci/run has built already, for debugging.
name=cluster
if command -v nats-server >/dev/null; then
    echo "example $name"
    program=${CLUSTER_EXAMPLE:-}
    if [ -z "$program" ]; then
        cargo build --quiet -p procession-examples --features cluster --example cluster
        program=${CARGO_TARGET_DIR:-target}/debug/examples/cluster
    fi
    timeout 120 "$program" >"$out/$name"
    has '^148933 primes below 2000000, after [0-9.]+ s$'
    has '^agent [0-9]+ is killed, and its tasks run again on the other$'
else
    echo "example $name is SKIPPED, because nats-server is not installed"
fi

run fork_map
has '^16 sums over 200000 functions$'
has '^[0-9.]+ s in forked copies, [0-9.]+ s in this process alone$'

run start_methods
has '^ +forkserver +spawn +fork +thread$'
row() {
    has "^$1 +$2 +$3 +$4 +$5\$"
}
row 'new process id' yes yes yes no
row 'statics and functions present' yes yes yes yes
row 'worker reused for several inputs' yes yes yes yes
row 'static keeps what a task changed' yes yes yes yes
row 'statics loaded anew' yes yes no no
row 'addresses as in main' '(yes|no)' '(yes|no)' yes yes # where programs are not loaded at random
row 'has what main made' no no yes yes
row 'has what main changed' no no yes yes
row 'main sees what a task changed' no no no yes
row 'initializer ran in it' yes yes yes yes
row 'lock held by a thread is held' no no no yes
has '^fork now: this process has other threads \(`holder`\)'

echo 'all examples print what they should'

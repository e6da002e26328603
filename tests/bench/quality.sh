#!/usr/bin/env bash
# How well requests are spread: tidegate live beside HAProxy, with ten scripted backends.
#
#   tests/bench/quality.sh [SECONDS] [ROUNDS] [FIGURE...]    20 s a run, 3 rounds, all figures: slow unequal recover
#                                                           errors workers weights keys; needs haproxy (Debian)
#
# The backends (tests/support/backends.c) are one process in which an answer takes as long as a timer
# says: lognormal times of 10 ms in the mean, sigma 1, four requests at a time, the others wait in line. The
# load is open loop: requests at random, as many a second in every run of a figure. Runs that are compared
# take turns, and the median of each is taken. Loopback only; ends what it started.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-20} rounds=${2:-3}
shift $(($# < 2 ? $# : 2))
only=" $* "
build=$PWD/${TIDEGATE_BUILD:-build/release}
command -v haproxy >/dev/null || { echo "quality: haproxy is missing: apt-get install haproxy" >&2; exit 1; }
dir=$(mktemp -d)
base=$((10000 + $$ % 2000 * 10)) # below the ports that the kernel gives to clients
first=$((base + 40)) victim=$((base + 43))
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
    rm -rf "$dir"
}
trap cleanup EXIT

"$build/backends" "$first" 10 kind=lognormal >"$dir/backends" 2>&1 &
pids+=($!)
control() { curl -fsS "http://127.0.0.1:$first/control?$1"; }
# All as in the beginning, with changes: [PORT:SETTING=VALUE...]...
backends() {
    control "service_ms=10&kind=lognormal&slots=4&fail=no" >/dev/null
    local change
    for change in "$@"; do control "port=${change%%:*}&${change#*:}" >/dev/null; done
}

list() { for i in 0 1 2 3 4 5 6 7 8 9; do printf '"127.0.0.1:%d", ' $((first + i)); done; }
weighted() { for i in 0 1 2 3 4 5 6 7 8 9; do printf '{ host = "127.0.0.1", port = %d, weight = %d }, ' $((first + i)) $((i + 1)); done; }
# A daemon of so many workers. Its ports: base + 4 x workers, and the next ones.
daemon() {
    local workers=$1 port=$((base + 4 * $1))
    mkdir "$dir/$workers"
    cat >"$dir/$workers/tidegate.lua" <<LUA
cluster { id = "quality$workers", engine = "process", workers = $workers, admin = "" }
service "plain" { backends = { $(list) }, route = { listen = "127.0.0.1:$port" } }
service "checked" { backends = { $(list) }, health_check = { http = "/", interval = "2s", timeout = "2s" },
  route = { listen = "127.0.0.1:$((port + 1))", circuit_breaker = { recovery_timeout = "10s" } } }
service "weighted" { backends = { $(weighted) }, route = { listen = "127.0.0.1:$((port + 2))", balance = "weighted_round_robin" } }
service "keys" { backends = { $(list) },
  route = { listen = "127.0.0.1:$((port + 3))", balance = { policy = "consistent_hashing", key = "header:X-Key" } } }
LUA
    tidegate "$workers" run "$dir/$workers/tidegate.lua" >"$dir/$workers/log" 2>&1 &
    pids+=($!)
    answers "$port" "$dir/$workers/log"
}
tidegate() {
    TIDEGATE_RUNTIME_DIR=$dir/$1/run TIDEGATE_STATE_DIR=$dir/$1/state exec "$build/tidegate" "${@:2}"
}
answers() {
    for _ in $(seq 100); do
        curl -fso /dev/null "http://127.0.0.1:$1/" && return
        sleep 0.1
    done
    echo "quality: port $1 does not answer" >&2
    tail -n 20 "$2" >&2
    exit 1
}
cat >"$dir/haproxy.cfg" <<CFG
global
  nbthread 2
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
listen web
  bind 127.0.0.1:$base
  balance leastconn
$(for i in 0 1 2 3 4 5 6 7 8 9; do echo "  server s$i 127.0.0.1:$((first + i))"; done)
CFG
haproxy -db -f "$dir/haproxy.cfg" >"$dir/haproxy.log" 2>&1 &
pids+=($!)
answers "$base" "$dir/haproxy.log"
daemon 1
daemon 2
daemon 4

# run NAME PORT RATE: notes mean and p99 of one run
run() {
    "$build/load" --rate "$3" --poisson --connections 900 --timeout 60000 --duration "$seconds" "http://127.0.0.1:$2/" >"$dir/out" || true
    for figure in mean_ms p99_ms errors requests; do
        sed -n 's/.*"'"$figure"'":\([0-9.]*\).*/\1/p' "$dir/out" >>"$dir/$1.$figure"
    done
}
median() { sort -n "$dir/$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
runs() { awk '{ printf " %.0f", $1 }' "$dir/$1"; }
sum() { awk '{ n += $1 } END { print n }' "$dir/$1"; }
wanted() { [ "$only" = "  " ] || [[ $only == *" $1 "* ]]; }
# line NAME VALUE SIGN BOUND NOTE
line() {
    printf '%-46s %8.4f  %s %-6s %-5s %s\n' "$1" "$2" "$3" "$4" \
        "$(awk -v v="$2" -v s="$3" -v b="$4" 'BEGIN { print (s == "<=" ? v <= b : v >= b) ? "ok" : "MISS" }')" "$5"
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { print a / b }'; }
compare() { # NAME OURS THEIRS FIGURE BOUND
    local a b
    a=$(median "$2.$4") b=$(median "$3.$4")
    line "$1" "$(ratio "$a" "$b")" "<=" "$5" "$a / $b ms; runs$(runs "$2.$4") /$(runs "$3.$4")"
}

figure_slow() { # 7 of 10 places busy without the slow one
    for _ in $(seq "$rounds"); do
        backends
        run usual $((base + 8)) 2800
        backends "$victim:service_ms=100"
        run slow $((base + 8)) 2800
    done
    backends
    compare "one of ten ten times slower, p99" slow usual p99_ms 1.5
}

figure_unequal() { # five of speed 1, three of 1/2, two of 1/4
    local changes=() i
    for i in 5 6 7; do changes+=("$((first + i)):service_ms=20"); done
    for i in 8 9; do changes+=("$((first + i)):service_ms=40"); done
    backends "${changes[@]}"
    for _ in $(seq "$rounds"); do
        run haproxy "$base" 1960
        run tidegate $((base + 8)) 1960
    done
    backends
    compare "unequal servers, p99, to HAProxy leastconn" tidegate haproxy p99_ms 0.75
    printf '%-46s %8.4f\n' "  and the mean" "$(ratio "$(median tidegate.mean_ms)" "$(median haproxy.mean_ms)")"
}

# All listings of a kind of recovery, one after the other: "port served" before, then after.
share() { # of the victim, and the least and the greatest of the others
    awk -v port="$victim" 'NR % 20 < 11 && NR % 20 > 0 { was[$1] = $2; next } { n[$1] += $2 - was[$1]; all += $2 - was[$1] }
        END { for (i in n) if (i != port) { least = least == "" || n[i] < least ? n[i] : least; most = n[i] > most ? n[i] : most }
            printf "%f %.3f %.3f\n", n[port] / all, least / all, most / all }' "$1"
}
recovered() { # NAME PORT CHANGE: bad for 10 s, well again; its share from 10 s to 30 s after that
    local load own least most
    : >"$dir/listings"
    for _ in $(seq "$rounds"); do
        backends
        "$build/load" --rate 1400 --poisson --connections 900 "http://127.0.0.1:$2/" >"$dir/out" &
        load=$!
        sleep 5
        backends "$victim:$3"
        sleep 10
        backends
        sleep 10
        control "" >>"$dir/listings"
        sleep 20
        control "" >>"$dir/listings"
        kill -INT "$load"
        wait "$load" || true
    done
    read -r own least most < <(share "$dir/listings")
    line "share of a recovered one: $1" "$own" ">=" 0.08 "others $least to $most"
}
figure_recover() {
    recovered "was slow" $((base + 8)) service_ms=100
    recovered "was down" $((base + 9)) fail=down
    recovered "circuit was open" $((base + 9)) fail=500
}

figure_errors() { # fails for half of the time
    local kind fault
    for kind in 500 reset down; do
        for _ in $(seq "$rounds"); do
            backends
            (sleep "$(awk -v s="$seconds" 'BEGIN { print s / 4 }')" && control "port=$victim&fail=$kind" >/dev/null &&
                sleep "$(awk -v s="$seconds" 'BEGIN { print s / 2 }')" && control "port=$victim&fail=no" >/dev/null) &
            fault=$!
            run "fails-$kind" $((base + 8)) 2800
            wait "$fault"
        done
        line "errors while one of ten fails: $kind" "$(ratio "$(sum "fails-$kind.errors")" "$(sum "fails-$kind.requests")")" \
            "<=" 0.001 "$(sum "fails-$kind.errors") of $(sum "fails-$kind.requests")"
    done
}

figure_workers() {
    backends
    for _ in $(seq "$rounds"); do
        run one $((base + 4)) 2800
        run four $((base + 16)) 2800
    done
    compare "four workers to one, p99" four one p99_ms 1.05
}

figure_weights() { # weights 1 to 10 over two workers
    backends
    control "service_ms=0&kind=constant&slots=0" >/dev/null
    "$build/load" --requests 100000 --connections 32 "http://127.0.0.1:$((base + 10))/" >"$dir/out"
    line "weights, furthest share off its weight" "$(sed -n 's/.*"by_instance":{\([^}]*\)}.*/\1/p' "$dir/out" | tr -d '"b' | tr ',:' '\n ' |
        awk '{ n[$1] = $2; all += $2 } END { for (i = 1; i <= 10; i++) { off = n[i] / all * 55 / i - 1; off = off < 0 ? -off : off; most = off > most ? off : most } print most }')" \
        "<=" 0.01 "$(grep -o '"requests":[0-9]*' "$dir/out"), two workers"
}

keys() { luajit tests/support/keys.lua $((base + 11)) 10000 >"$dir/keys.$1"; }
moved() { paste "$dir/keys.$1" "$dir/keys.$2" | awk '{ n += $2 != $4 } END { print n / NR }'; }
figure_keys() {
    backends
    control "service_ms=0&kind=constant&slots=0" >/dev/null
    keys before
    (tidegate 2 backend remove keys "127.0.0.1:$victim") >/dev/null
    keys without
    (tidegate 2 backend add keys "127.0.0.1:$victim") >/dev/null
    keys after
    line "keys moved when one of ten leaves" "$(moved before without)" "<=" 0.12 "of 10000"
    line "keys elsewhere when it is back" "$(moved before after)" "<=" 0.02 "load bounds pass some on"
}

printf '%-46s %8s  %-9s %-5s\n' figure measured bound ""
for figure in slow unequal recover errors workers weights keys; do
    ! wanted "$figure" || "figure_$figure"
done

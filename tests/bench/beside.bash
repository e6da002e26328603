# beside.bash: what the benchmarks share that run tidegate beside others: processes, wrk and CPU time; sourced.
#
# Wants: $dir, a directory of the run; port[NAME] of each proxy, and $scheme (http or https). Sets: pid[NAME], the
# process that proxies. Core 0 is for proxies, core 1 for wrk and backends.
# shellcheck shell=bash disable=SC2154,SC2004
scheme=${scheme:-http}

pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ -d "$dir/files" ]; then umount "$dir/files" 2>/dev/null || true; fi
}
trap cleanup EXIT
die() {
    echo "${0##*/}: $*" >&2
    tail -n 5 "$dir"/*.log >&2
    exit 1
}

# start CORE NAME COMMAND...: in the background; the process is $started
start() {
    local core=$1 name=$2
    shift 2
    taskset -c "$core" "$@" >"$dir/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
}
# answers PORT [SCHEME]: comes back when it does
answers() {
    for _ in $(seq 100); do
        curl -kfso /dev/null --max-time 2 "${2:-http}://127.0.0.1:$1/" && return
        sleep 0.1
    done
    return 1
}
# up NAME [ARGUMENT of pgrep...]: waits, and remembers which of its processes proxies
up() {
    local name=$1 sockets
    shift
    answers "${port[$name]}" "$scheme" || die "$name does not answer"
    pid[$name]=$started
    if [ $# -gt 0 ]; then pid[$name]=$(pgrep -P "$started" "$@"); fi
    case "${pid[$name]}" in *[!0-9]*) die "$name: one process is wanted, not ${pid[$name]}" ;; esac
    sockets=$(ss -Hltn "sport = :${port[$name]}" | wc -l)
    [ "$sockets" = 1 ] || die "$name: $sockets sockets listen on port ${port[$name]}"
}

# ---- figures ------------------------------------------------------------------------------------

# note SCENARIO PROXY VALUE
note() { printf '%s\t%s\t%s\n' "$@" >>"$dir/figures"; }

wanted() { [[ $1 =~ $figures ]]; }

cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

# wrk_run PROXY CONNECTIONS SECONDS PATH [WRK-OPTION...]: into $dir/wrk; requests that failed are counted
wrk_run() {
    local name=$1 connections=$2 seconds=$3 path=$4 failed
    shift 4
    timeout $((seconds + 20)) taskset -c 1 wrk -t1 -c"$connections" -d"${seconds}s" --timeout 10s --latency "$@" \
        "$scheme://127.0.0.1:${port[$name]}$path" >"$dir/wrk" || die "wrk failed at $name"
    requests=$(awk '/requests in/ { print $1 }' "$dir/wrk")
    failed=$(awk '/Non-2xx/ { n += $NF } /Socket errors/ { gsub(",", ""); n += $4 + $6 + $8 + $10 } END { print n + 0 }' "$dir/wrk")
    [ "${requests:-0}" -gt 0 ] || die "no requests through $name"
    if [ "$failed" != 0 ]; then note "requests that failed" "$name" "$failed"; fi
}

# cpu SCENARIO CONNECTIONS PATH PROXIES [WRK-OPTION...]: microseconds of CPU a request
cpu() {
    local scenario=$1 connections=$2 path=$3 names=$4 name before after
    shift 4
    wanted "$scenario" || return 0
    for name in $names; do
        before=$(cpu_ns "${pid[$name]}")
        wrk_run "$name" "$connections" "$period" "$path" "$@"
        after=$(cpu_ns "${pid[$name]}")
        note "$scenario" "$name" "$(awk -v ns=$((after - before)) -v n="$requests" 'BEGIN { printf "%.3f", ns / n / 1000 }')"
    done
}

#!/usr/bin/env bash
# Scale policies on recorded traces, in the simulator: violation % / cost against the best plan in hindsight, and what
# their decisions cost.
#
#     tests/bench/policies.sh DATA_DIR [STARTUP...]      or TRACES=DATA_DIR scripts/dev bench policies
#
# DATA_DIR has CSV files of seconds,rate; each is cut to 31 days and scaled so that its 99.9 % (the spiky Google and
# AAPL: 99 %) needs 20 instances of 100 requests/s; the first seven days are not scored. One that is shorter is left out.
# Without start-up times they are 10, 30 and 120 s. Without DATA_DIR only costs are measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-${TRACES:-}}
export TIDEGATE_BUILD=${TIDEGATE_BUILD:-build/release}
binary=$TIDEGATE_BUILD/tidegate
[ -x "$binary" ] || { echo "policies: $binary is missing: scripts/dev build" >&2; exit 1; }
# Its own loop is not to be compiled, so that it costs the same whatever is measured.
luajit -joff tests/bench/policy_cost.lua
if [ -z "$data" ]; then
    echo "policies: no traces: tests/bench/policies.sh DATA_DIR, or TRACES=DATA_DIR scripts/dev bench policies" >&2
    exit 0
fi
shift || true
[ $# -gt 0 ] || set -- 10s 30s 120s

# The first three as they are without the guard rails, to compare them with what others measured. Cooldowns of the first
# are its own; what HPA sees is one period old, as the metrics server's figures are.
bare=step_limits=false,saturation=false,churn=false
policies=("threshold:interval=30s,$bare" "target_tracking:lag=15s,$bare" "latency_slo:$bare"
    error_budget "error_budget:budget=0.2,most=0.985")

# Rows of one policy: trace, viol %, cost, actions a day, us a decision, s in all.
rows() {
    local file quantile began line
    for file in "$data"/*.csv; do
        case $file in *google* | *aapl*) quantile=0.99 ;; *) quantile=0.999 ;; esac
        began=$(date +%s.%N)
        line=$("$binary" simulate "$1" --trace "$file" --quantile "$quantile" --peak 20 --days 31 \
            --warm-up 7d --startup "$2" --json 2>/dev/null) || continue
        figure() { grep -o "\"$1\":[0-9.e+-]*" <<<"$line" | head -n 1 | cut -d : -f 2; }
        echo "$(basename "$file" .csv) $(figure violation_percent) $(figure cost) $(figure actions_per_day)" \
            "$(figure decide_us) $(echo "$(date +%s.%N) - $began" | bc)"
    done
}

for startup in "$@"; do
    printf '\nstart-up %-6s %-30s %8s %6s %8s %8s %7s\n' "$startup" trace 'viol %' cost acts/d us/dec. s
    for policy in "${policies[@]}"; do
        printf '%s\n' "${policy%,"$bare"}" | sed "s/:$bare//"
        rows "$policy" "$startup" | awk '
            { printf "%15s %-30s %8.2f %6.2f %8.0f %8.1f %7.1f\n", "", $1, $2, $3, $4, $5, $6
              viol += $2; cost += $3; acts += $4; if ($2 > most) most = $2; n++ }
            END { if (n) printf "%15s %-30s %8.2f %6.2f %8.0f   (most %.2f %%)\n", "", "mean", viol / n, cost / n, acts / n, most }'
    done
done

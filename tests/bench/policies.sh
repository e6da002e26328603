#!/usr/bin/env bash
# Scale policies on recorded traces, in the simulator: violation % / cost against the best plan in hindsight.
#
#     tests/bench/policies.sh DATA_DIR [STARTUP...]      or TRACES=DATA_DIR scripts/dev bench policies
#
# DATA_DIR has CSV files of seconds,rate; each is cut to 31 days and scaled so that its 99.9 % (the spiky Google and
# AAPL: 99 %) needs 20 instances of 100 requests/s; the first seven days are not scored. One that is shorter is left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-${TRACES:-}}
binary=${TIDEGATE_BUILD:-build/release}/tidegate
if [ -z "$data" ]; then
    echo "policies: no traces: tests/bench/policies.sh DATA_DIR, or TRACES=DATA_DIR scripts/dev bench policies" >&2
    exit 0
fi
[ -x "$binary" ] || { echo "policies: $binary is missing: scripts/dev build" >&2; exit 1; }
shift || true
[ $# -gt 0 ] || set -- 30s

# Cooldowns are the seed's; what HPA sees is one period old, as the metrics server's figures are.
# Limits of steps are HPA's own.
policies=(threshold:interval=30s "target_tracking:lag=15s,step_limits=false" latency_slo)
[ ! -e policies/scale/error_budget.lua ] || policies+=(error_budget "error_budget:budget=0.2,most=0.985")

for startup in "$@"; do
    printf '\nstart-up %s\n%-34s %-30s %8s %6s %8s %8s %7s\n' "$startup" trace policy 'viol %' cost acts/d us/dec. s
    for file in "$data"/*.csv; do
        case $file in *google* | *aapl*) quantile=0.99 ;; *) quantile=0.999 ;; esac
        for policy in "${policies[@]}"; do
            began=$(date +%s.%N)
            line=$("$binary" simulate "$policy" --trace "$file" --quantile "$quantile" --peak 20 --days 31 \
                --warm-up 7d --startup "$startup" --json 2>/dev/null) || continue
            took=$(echo "$(date +%s.%N) - $began" | bc)
            figure() { grep -o "\"$1\":[0-9.e+-]*" <<<"$line" | head -n 1 | cut -d : -f 2; }
            printf '%-34s %-30s %8.2f %6.2f %8.0f %8.1f %7.1f\n' "$(basename "$file" .csv)" "$policy" \
                "$(figure violation_percent)" "$(figure cost)" "$(figure actions_per_day)" "$(figure decide_us)" "$took"
        done
    done
done

/* catalog.c: see catalog.h. README.md shows the same table; a test compares it with the page. */
#include "watch/catalog.h"

#include <stddef.h>

#include "base/ban.h"
#include "base/err.h"

/* From 0.1 s on, as dashboards made for these two families want it. */
static const struct family_bound REQUEST[] = {
    {0.1, "0.1"}, {0.5, "0.5"}, {1, "1.0"},   {2.5, "2.5"},   {5, "5.0"},
    {10, "10.0"}, {30, "30.0"}, {60, "60.0"}, {120, "120.0"}, {0, NULL},
};
static const struct family_bound OPERATION[] = {
    {0.01, "0.01"}, {0.1, "0.1"}, {0.5, "0.5"}, {1, "1.0"},
    {5, "5.0"},     {10, "10.0"}, {30, "30.0"}, {0, NULL},
};
static const struct family_bound LATENCY[] = {
    {0.0005, "0.0005"}, {0.001, "0.001"}, {0.0025, "0.0025"}, {0.005, "0.005"}, {0.01, "0.01"},
    {0.025, "0.025"},   {0.05, "0.05"},   {0.1, "0.1"},       {0.25, "0.25"},   {0.5, "0.5"},
    {1, "1.0"},         {2.5, "2.5"},     {5, "5.0"},         {10, "10.0"},     {0, NULL},
};
static const struct family_bound ANSWER[] = {
    {0.001, "0.001"}, {0.005, "0.005"}, {0.025, "0.025"}, {0.1, "0.1"},
    {0.5, "0.5"},     {2.5, "2.5"},     {0, NULL},
};
static const struct family_bound LAG[] = {
    {0.001, "0.001"}, {0.002, "0.002"}, {0.005, "0.005"}, {0.01, "0.01"},
    {0.05, "0.05"},   {0.25, "0.25"},   {1, "1.0"},       {0, NULL},
};

static const struct family_kind KINDS[FAMILIES] = {
    [FAMILY_DATA_SERVICE_REQUESTS] =
        {"data_service_requests_total", FAMILY_COUNTER, "service_name,endpoint,method,status",
         "Requests of clients to a service, by the path of its route, method and status.", NULL,
         false},
    [FAMILY_DATA_SERVICE_REQUEST_DURATION] =
        {"data_service_request_duration_seconds", FAMILY_HISTOGRAM, "service_name,endpoint,method",
         "Time from a request of a client until its answer was through.", REQUEST, false},
    [FAMILY_DATA_SERVICE_CPU_USAGE] = {"data_service_cpu_usage_percent", FAMILY_GAUGE,
                                       "service_name,container_id",
                                       "CPU use of an instance in percent of its allotment.", NULL,
                                       false},
    [FAMILY_DATA_SERVICE_MEMORY_USAGE] = {"data_service_memory_usage_bytes", FAMILY_GAUGE,
                                          "service_name,container_id", "Memory use of an instance.",
                                          NULL, false},
    [FAMILY_DATA_PROCESSING_RECORDS] = {"data_processing_records_total", FAMILY_COUNTER,
                                        "service_name,dataset_type,processing_stage",
                                        "Records that a service processed, by its own account.",
                                        NULL, false},
    [FAMILY_DATA_PROCESSING_LATENCY] =
        {"data_processing_latency_seconds", FAMILY_HISTOGRAM, "service_name,operation_type",
         "Time that operations of a service took, by its own account.", OPERATION, false},
    [FAMILY_DATA_PROCESSING_ERRORS] =
        {"data_processing_errors_total", FAMILY_COUNTER, "service_name,error_type,severity",
         "Errors of a service by its own account, and failures to collect that.", NULL, false},
    [FAMILY_DATA_QUALITY_SCORE] =
        {"data_quality_score", FAMILY_GAUGE, "service_name,dataset_id,quality_dimension",
         "Quality of a data set by a service's own account, the mean of its instances.", NULL,
         true},
    [FAMILY_ROUTE_REQUESTS] = {"tidegate_route_requests_total", FAMILY_COUNTER,
                               "service,route,code",
                               "Requests of clients by the class of their answer.", NULL, false},
    [FAMILY_ROUTE_REQUEST_DURATION] =
        {"tidegate_route_request_duration_seconds", FAMILY_HISTOGRAM, "service,route",
         "Time from a request of a client until its answer was through.", LATENCY, false},
    [FAMILY_ROUTE_IN_FLIGHT] = {"tidegate_route_in_flight", FAMILY_GAUGE, "service,route",
                                "Requests of clients whose answer is not through.", NULL, false},
    [FAMILY_ROUTE_QUEUE_LENGTH] = {"tidegate_route_queue_length", FAMILY_GAUGE, "service,route",
                                   "Requests that wait for a backend.", NULL, false},
    [FAMILY_ROUTE_RETRIES] = {"tidegate_route_retries_total", FAMILY_COUNTER, "service,route",
                              "Attempts at a backend that were repeated at another.", NULL, false},
    [FAMILY_BACKEND_REQUESTS] =
        {"tidegate_backend_requests_total", FAMILY_COUNTER, "service,backend,code",
         "Requests sent to a backend, by the class of its answer; none: it gave none.", NULL,
         false},
    [FAMILY_BACKEND_REQUEST_DURATION] =
        {"tidegate_request_duration_seconds", FAMILY_HISTOGRAM, "service,backend",
         "Time from a request's dispatch to a backend until its answer began; within 3 %.", LATENCY,
         false},
    [FAMILY_BACKEND_IN_FLIGHT] = {"tidegate_backend_in_flight", FAMILY_GAUGE, "service,backend",
                                  "Requests at a backend whose answer is not finished.", NULL,
                                  false},
    [FAMILY_BACKEND_IDLE_CONNECTIONS] = {"tidegate_backend_idle_connections", FAMILY_GAUGE,
                                         "service,backend",
                                         "Connections to a backend that wait for a request.", NULL,
                                         false},
    [FAMILY_BACKEND_RETRIES] = {"tidegate_backend_retries_total", FAMILY_COUNTER, "service,backend",
                                "Attempts at a backend that were repeated at another.", NULL,
                                false},
    [FAMILY_BACKEND_RECEIVED_BYTES] = {"tidegate_backend_received_bytes_total", FAMILY_COUNTER,
                                       "service,backend",
                                       "Bytes of request bodies taken from clients for a backend.",
                                       NULL, false},
    [FAMILY_BACKEND_SENT_BYTES] = {"tidegate_backend_sent_bytes_total", FAMILY_COUNTER,
                                   "service,backend",
                                   "Bytes of answer bodies of a backend passed on to clients.",
                                   NULL, false},
    [FAMILY_BACKEND_EJECTIONS] =
        {"tidegate_backend_ejections_total", FAMILY_COUNTER, "service,backend",
         "Times that a backend was put out because it did worse than others.", NULL, false},
    [FAMILY_CIRCUIT_STATE] = {"tidegate_circuit_state", FAMILY_GAUGE, "service,backend",
                              "Circuit of a backend: 0 closed, 1 half-open, 2 open.", NULL, true},
    [FAMILY_CIRCUIT_OPENED] = {"tidegate_circuit_opened_total", FAMILY_COUNTER, "service,backend",
                               "Times that a backend's circuit opened because it failed.", NULL,
                               false},
    [FAMILY_INSTANCES] = {"tidegate_instances", FAMILY_GAUGE, "service,state",
                          "Instances of a service by state.", NULL, false},
    [FAMILY_INSTANCES_DESIRED] = {"tidegate_instances_desired", FAMILY_GAUGE, "service",
                                  "Instances that a service should have.", NULL, false},
    [FAMILY_INSTANCES_RECOMMENDED] =
        {"tidegate_instances_recommended", FAMILY_GAUGE, "service",
         "Instances that a service's policy recommends and an operator has not approved.", NULL,
         false},
    [FAMILY_SHADOW_INSTANCES] = {"tidegate_shadow_instances", FAMILY_GAUGE, "service,policy",
                                 "Instances that a shadow policy would have, within the bounds.",
                                 NULL, false},
    [FAMILY_SHADOW_ANSWERS] = {"tidegate_shadow_answers_total", FAMILY_COUNTER,
                               "point,of,route,policy",
                               "Answers of shadow policies, errors included.", NULL, false},
    [FAMILY_SHADOW_DIFFERENCES] =
        {"tidegate_shadow_differences_total", FAMILY_COUNTER, "point,of,route,policy",
         "Answers of shadow policies that were not those of the policy in force.", NULL, false},
    [FAMILY_SHADOW_ERRORS] = {"tidegate_shadow_errors_total", FAMILY_COUNTER,
                              "point,of,route,policy", "Shadow policies' answers that were errors.",
                              NULL, false},
    [FAMILY_INSTANCES_MIN] = {"tidegate_instances_min", FAMILY_GAUGE, "service",
                              "Fewest instances that scaling may leave.", NULL, false},
    [FAMILY_INSTANCES_MAX] = {"tidegate_instances_max", FAMILY_GAUGE, "service",
                              "Most instances that scaling may make.", NULL, false},
    [FAMILY_SERVICE_GENERATION] = {"tidegate_service_generation", FAMILY_GAUGE, "service",
                                   "Generation of a service, rises with each deploy.", NULL, true},
    [FAMILY_SERVICE_QUEUE_LENGTH] =
        {"tidegate_service_queue_length", FAMILY_GAUGE, "service",
         "Requests of a service that wait for a backend, over all workers.", NULL, false},
    [FAMILY_SERVICE_HELD] =
        {"tidegate_service_held_requests", FAMILY_GAUGE, "service",
         "Requests that wait for the first instance of a service that had none.", NULL, true},
    [FAMILY_SERVICE_WAKES] = {"tidegate_service_wakes_total", FAMILY_COUNTER, "service",
                              "Times that a request started the first instance of a service.", NULL,
                              true},
    [FAMILY_SERVICE_CPU] = {"tidegate_service_cpu_ratio", FAMILY_GAUGE, "service",
                            "Mean CPU use of a service's instances, as a part of their allotment.",
                            NULL, true},
    [FAMILY_SERVICE_MEMORY] =
        {"tidegate_service_memory_ratio", FAMILY_GAUGE, "service",
         "Mean memory use of a service's instances, as a part of their limit.", NULL, true},
    [FAMILY_COLLECT_UP] =
        {"tidegate_collect_up", FAMILY_GAUGE, "service,instance,endpoint",
         "Whether the last try to collect from it gave an answer that could be read.", NULL, true},
    [FAMILY_COLLECT_DURATION] = {"tidegate_collect_duration_seconds", FAMILY_GAUGE,
                                 "service,instance,endpoint", "Time that the last try took.", NULL,
                                 true},
    [FAMILY_COLLECT_FAILURES] = {"tidegate_collect_failures_total", FAMILY_COUNTER,
                                 "service,instance,endpoint", "Tries to collect that failed.", NULL,
                                 false},
    [FAMILY_COLLECT_SAMPLES] = {"tidegate_collect_samples", FAMILY_GAUGE,
                                "service,instance,endpoint", "Numbers of the last page of metrics.",
                                NULL, false},
    [FAMILY_CONNECTIONS] = {"tidegate_connections", FAMILY_GAUGE, "worker",
                            "Open connections of clients.", NULL, false},
    [FAMILY_CONNECTIONS_ACCEPTED] = {"tidegate_connections_accepted_total", FAMILY_COUNTER,
                                     "worker", "Connections of clients that were accepted.", NULL,
                                     false},
    [FAMILY_REQUESTS_NO_ROUTE] = {"tidegate_requests_no_route_total", FAMILY_COUNTER, "worker",
                                  "Requests answered 404 for want of a route.", NULL, false},
    [FAMILY_REQUESTS_NO_BACKEND] = {"tidegate_requests_no_backend_total", FAMILY_COUNTER, "worker",
                                    "Requests answered 503 for want of a backend.", NULL, false},
    [FAMILY_REQUESTS_BAD] = {"tidegate_requests_bad_total", FAMILY_COUNTER, "worker",
                             "Requests refused as malformed.", NULL, false},
    [FAMILY_REQUESTS_ABORTED] = {"tidegate_requests_aborted_total", FAMILY_COUNTER, "worker",
                                 "Exchanges cut off in the middle of an answer.", NULL, false},
    [FAMILY_QUEUE_LENGTH] = {"tidegate_queue_length", FAMILY_GAUGE, "worker",
                             "Requests that wait because all backends are full.", NULL, false},
    [FAMILY_REQUESTS_QUEUED] = {"tidegate_requests_queued_total", FAMILY_COUNTER, "worker",
                                "Requests that had to wait so.", NULL, false},
    [FAMILY_QUEUE_REFUSED] =
        {"tidegate_queue_refused_total", FAMILY_COUNTER, "worker",
         "Requests answered 503 because the queue was full or the wait too long.", NULL, false},
    [FAMILY_RETRIES_DENIED] = {"tidegate_retries_denied_total", FAMILY_COUNTER, "worker",
                               "Attempts not repeated because the retry budget was spent.", NULL,
                               false},
    [FAMILY_CIRCUIT_PANICS] = {"tidegate_circuit_panics_total", FAMILY_COUNTER, "worker",
                               "Picks that ignored the circuits because too few were closed.", NULL,
                               false},
    [FAMILY_EXHAUSTED] =
        {"tidegate_exhausted_total", FAMILY_COUNTER, "worker",
         "Connections and requests refused for want of file descriptors or memory.", NULL, false},
    [FAMILY_ACCESS_LOG_LOST] = {"tidegate_access_log_lost_total", FAMILY_COUNTER, "worker",
                                "Lines of the access log that could not be written.", NULL, false},
    [FAMILY_RATE_LIMITED] = {"tidegate_rate_limited_total", FAMILY_COUNTER, "worker",
                             "Requests refused because a route was asked too often.", NULL, false},
    [FAMILY_AUTH_FAILED] = {"tidegate_auth_failures_total", FAMILY_COUNTER, "worker",
                            "Requests refused because their credentials were wrong.", NULL, false},
    [FAMILY_AUTH_ERRORS] = {"tidegate_auth_errors_total", FAMILY_COUNTER, "worker",
                            "Requests refused because their credentials could not be checked.",
                            NULL, false},
    [FAMILY_PICKS] = {"tidegate_picks_total", FAMILY_COUNTER, "worker",
                      "Backends picked by balance policies.", NULL, false},
    [FAMILY_PICK_SECONDS] = {"tidegate_pick_seconds_total", FAMILY_COUNTER, "worker",
                             "Time spent in balance policies.", NULL, false},
    [FAMILY_BALANCE_ERRORS] = {"tidegate_balance_errors_total", FAMILY_COUNTER, "worker",
                               "Picks that fell back because the balance policy failed.", NULL,
                               false},
    [FAMILY_BALANCE_INTERPRETED] =
        {"tidegate_balance_interpreted", FAMILY_GAUGE, "worker",
         "Routes whose balance policy LuaJIT does not compile: it costs more than it should.", NULL,
         false},
    [FAMILY_REQUEST_FUNCTION_ERRORS] =
        {"tidegate_request_function_errors_total", FAMILY_COUNTER, "worker",
         "Requests that went on without data because their route's request function failed.", NULL,
         false},
    [FAMILY_BUILD_INFO] = {"tidegate_build_info", FAMILY_GAUGE, "version",
                           "Always 1; its label tells the version.", NULL, true},
    [FAMILY_CONFIG_INFO] = {"tidegate_config_info", FAMILY_GAUGE, "hash",
                            "Always 1; its label tells configurations apart.", NULL, true},
    [FAMILY_UPTIME] = {"tidegate_uptime_seconds", FAMILY_GAUGE, "",
                       "Time since the daemon started.", NULL, false},
    [FAMILY_GENERATION] = {"tidegate_generation", FAMILY_GAUGE, "",
                           "Generation of the configuration in force.", NULL, false},
    [FAMILY_RELOADS] = {"tidegate_reloads_total", FAMILY_COUNTER, "result",
                        "Reloads of the configuration.", NULL, false},
    [FAMILY_RELOAD_LAST_SUCCESS] = {"tidegate_reload_last_success_timestamp_seconds", FAMILY_GAUGE,
                                    "", "When the configuration in force was loaded, since 1970.",
                                    NULL, false},
    [FAMILY_SPANS] = {"tidegate_spans_total", FAMILY_COUNTER, "result",
                      "Spans of requests: exported, failed to be, or dropped before.", NULL, false},
    [FAMILY_ACME_RENEWALS] = {"tidegate_acme_renewals_total", FAMILY_COUNTER, "result",
                              "Certificates that were asked for of an ACME authority.", NULL,
                              false},
    [FAMILY_DECISIONS] = {"tidegate_decisions_total", FAMILY_COUNTER, "action",
                          "Scaling decisions by outcome.", NULL, false},
    [FAMILY_EVENTS] = {"tidegate_events_total", FAMILY_COUNTER, "kind",
                       "Changes of backends, circuits, services and the engine, as in the log.",
                       NULL, false},
    [FAMILY_POLICY_ERRORS] = {"tidegate_policy_errors_total", FAMILY_COUNTER, "",
                              "Failures of policies in the policy process.", NULL, false},
    [FAMILY_POLICY_FAULTS] = {"tidegate_policy_faults_total", FAMILY_COUNTER, "point,of,route",
                              "Failures of a policy, by where it is asked.", NULL, false},
    [FAMILY_POLICY_QUARANTINED] = {"tidegate_policy_quarantined", FAMILY_GAUGE, "point,of,route",
                                   "Whether a policy that failed is in quarantine: not asked until "
                                   "the next reload.",
                                   NULL, false},
    [FAMILY_POLICY_ANSWER] = {"tidegate_policy_answer_seconds", FAMILY_HISTOGRAM, "question",
                              "Time from a question to the policy process until its answer.",
                              ANSWER, false},
    [FAMILY_WORKER_DEATHS] = {"tidegate_worker_deaths_total", FAMILY_COUNTER, "",
                              "Workers that ended unasked.", NULL, false},
    [FAMILY_POLICY_DEATHS] = {"tidegate_policy_deaths_total", FAMILY_COUNTER, "",
                              "Policy processes that ended unasked.", NULL, false},
    [FAMILY_ENGINE_UP] = {"tidegate_engine_up", FAMILY_GAUGE, "",
                          "Whether the engine is reachable.", NULL, false},
    [FAMILY_ENGINE_OUTAGES] = {"tidegate_engine_outages_total", FAMILY_COUNTER, "",
                               "Times that the engine was lost.", NULL, false},
    [FAMILY_ENGINE_CALLS] = {"tidegate_engine_calls_total", FAMILY_COUNTER, "call,result",
                             "Calls of the engine, by what they came to.", NULL, false},
    [FAMILY_ALERTS] = {"tidegate_alerts", FAMILY_GAUGE, "state,severity",
                       "Alerts that are not inactive.", NULL, false},
    [FAMILY_ALERTS_MUTED] =
        {"tidegate_alerts_muted", FAMILY_GAUGE, "by",
         "Firing alerts that nobody is told of again, by what keeps them quiet.", NULL, false},
    [FAMILY_ALERT_RULES] = {"tidegate_alert_rules", FAMILY_GAUGE, "", "Rules of alerts in force.",
                            NULL, false},
    [FAMILY_ALERT_SILENCES] = {"tidegate_alert_silences", FAMILY_GAUGE, "", "Silences in force.",
                               NULL, false},
    [FAMILY_ALERT_EVALUATIONS] = {"tidegate_alert_evaluations_total", FAMILY_COUNTER, "",
                                  "Evaluations of all rules.", NULL, false},
    [FAMILY_ALERT_ERRORS] = {"tidegate_alert_policy_errors_total", FAMILY_COUNTER, "",
                             "Results of rules that were errors.", NULL, false},
    [FAMILY_ALERT_MESSAGES] = {"tidegate_alert_messages_total", FAMILY_COUNTER, "",
                               "Messages of alerts handed to channels.", NULL, false},
    [FAMILY_NOTIFICATIONS] = {"tidegate_notifications_total", FAMILY_COUNTER, "channel,result",
                              "Messages of a channel: sent, retried, dropped; failed counts tries.",
                              NULL, false},
    [FAMILY_NOTIFICATIONS_WAITING] = {"tidegate_notifications_waiting", FAMILY_GAUGE, "channel",
                                      "Messages that a channel has not sent yet.", NULL, false},
    [FAMILY_ANOMALIES] = {"tidegate_anomalies_total", FAMILY_COUNTER, "severity",
                          "Anomalies that detectors told of.", NULL, false},
    [FAMILY_STORE_LOST] = {"tidegate_store_lost_total", FAMILY_COUNTER, "kind",
                           "Samples and events that the history could not keep.", NULL, false},
    [FAMILY_STORE_ERRORS] = {"tidegate_store_errors_total", FAMILY_COUNTER, "",
                             "Failures of the history's files.", NULL, false},
    [FAMILY_STORE_WAITING] = {"tidegate_store_waiting", FAMILY_GAUGE, "",
                              "What the history has taken and not yet put on disk.", NULL, false},
    [FAMILY_STORE_BYTES] = {"tidegate_store_bytes", FAMILY_GAUGE, "",
                            "Size of the history's files.", NULL, false},
    [FAMILY_STORE_SERIES_COUNT] = {"tidegate_store_series", FAMILY_GAUGE, "",
                                   "Series that the history is writing.", NULL, false},
    [FAMILY_LOOP_LAG] = {"tidegate_loop_lag_seconds", FAMILY_HISTOGRAM, "",
                         "How late ticks of the master's loop were.", LAG, false},
    [FAMILY_LOOP_LAG_MAX] = {"tidegate_loop_lag_max_seconds", FAMILY_GAUGE, "",
                             "The latest tick since the last scrape.", NULL, false},
    [FAMILY_PROCESS_CPU] = {"process_cpu_seconds_total", FAMILY_COUNTER, "",
                            "CPU time of the master process.", NULL, false},
    [FAMILY_PROCESS_MEMORY] = {"process_resident_memory_bytes", FAMILY_GAUGE, "",
                               "Resident memory of the master process.", NULL, false},
    [FAMILY_PROCESS_FDS] = {"process_open_fds", FAMILY_GAUGE, "",
                            "Open descriptors of the master process.", NULL, false},
    [FAMILY_PROCESS_MAX_FDS] = {"process_max_fds", FAMILY_GAUGE, "",
                                "Most descriptors that the master may open.", NULL, false},
    [FAMILY_PROCESS_START] = {"process_start_time_seconds", FAMILY_GAUGE, "",
                              "When the daemon started, since 1970.", NULL, false},
    [FAMILY_SCRAPE_DURATION] = {"tidegate_scrape_duration_seconds", FAMILY_HISTOGRAM, "",
                                "Time that the daemon took to make this page.", ANSWER, false},
    [FAMILY_METRICS_SERIES] = {"tidegate_metrics_series", FAMILY_GAUGE, "family",
                               "Series of a family, as of the page before.", NULL, false},
    [FAMILY_METRICS_DROPPED] = {"tidegate_metrics_series_dropped_total", FAMILY_COUNTER, "family",
                                "Times that a series was folded into another or left out, since "
                                "its family or a label has too many.",
                                NULL, false},
};

const struct family_kind *family_kind(enum family family)
{
    must(family < FAMILIES);
    return &KINDS[family];
}

unsigned family_bounds(enum family family)
{
    const struct family_bound *bounds = family_kind(family)->bounds;
    unsigned count = 0;
    while (bounds && bounds[count].text) {
        count++;
    }
    return count;
}

const char *family_type_name(enum family_type type)
{
    static const char *const NAMES[FAMILY_TYPES] = {
        [FAMILY_COUNTER] = "counter",
        [FAMILY_GAUGE] = "gauge",
        [FAMILY_HISTOGRAM] = "histogram",
    };
    return NAMES[type];
}

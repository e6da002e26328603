---@meta
-- meta.lua: every view that C gives to a policy and every answer it takes, for editors that
-- understand LuaLS annotations. Nothing here runs. `?`: nil while unknown.
-- Generated of policies/tidegate/views.lua by `scripts/dev generate`: change that one.

-- ---- A policy file returns one of these -----------------------------------------------------------

---@class tidegate.Policy
---@field name string                            as the file is called, without .lua
---@field doc string                             a sentence: what it decides
---@field params table<string, tidegate.Param>   what the configuration may set
---@field needs? string[]                        balance: of a request, and response_mean_ms; absent: all
---@field timing? tidegate.Timing                scale: what it wants where the service says nothing
---@field new fun(params: table, state: table|tidegate.Detector): tidegate.Made for each use of it
---@field state_version? integer                 of what it keeps in `state`; 1 when absent
---@field migrate? fun(old: table, from: integer): table what version `from` kept, as it is kept now
---@field examples? table[]                      what its kind takes: tidegate.ScaleExample and its kin

---@alias tidegate.Made tidegate.Scale|tidegate.Balance|tidegate.Alert|tidegate.Anomaly|tidegate.Notify

-- Durations come as seconds and sizes as bytes. A list has words: { "a", "b" }. A source is a place in a
-- request such as "header:X-User", "cookie:session", "query:id", "path" or "client". A policy, in scale
-- policies, is another one with its parameters: { policy = "queue", each = 10 }; policies is a list of
-- them; `new` gets tidegate.Part in their places, and for windows a list of tidegate.Window.
---@alias tidegate.ParamType "number"|"integer"|"boolean"|"string"|"duration"|"size"|"enum"|"source"|"list"|"policy"|"policies"|"windows"

---@class tidegate.Param
---@field type tidegate.ParamType                what it takes
---@field default? any                           when the configuration says nothing
---@field min? number                            least or most that it may be
---@field max? number                            least or most that it may be
---@field values? string[]                       of an enum
---@field unit? string                           for people
---@field required? boolean|string               it has no default; a string says why
---@field doc? string                            what it is for

-- ---- scale: how many instances --------------------------------------------------------------------

-- Durations such as "5s" or 0.
---@class tidegate.Timing
---@field interval? string|number                how often it is asked; absent: 15s
---@field up_cooldown? string|number             absent: the cluster's
---@field down_cooldown? string|number           absent: the cluster's

-- A service at one moment: a fresh copy for each call. Any other field raises and names the nearest one.
---@class tidegate.ServiceView
---@field service string                         its name
---@field now number                             only differences mean something (s, monotonic)
---@field time number                            by the wall clock, for schedules (s since 1970)
---@field instances integer                      up: they get requests
---@field desired integer                        as the last decision wanted
---@field starting integer                       on their way up
---@field min integer                            fewest that there may be
---@field max integer                            most that there may be
---@field cpu_percent? number                    of what an instance may use, mean over the instances
---@field memory_percent? number                 of its limit, mean over the instances
---@field in_flight? number                      requests that wait for their answer
---@field rate? number                           requests that come (requests/s)
---@field error_rate? number                     failed of all requests (0..1)
---@field p50_ms? number                         response times: half are faster (ms)
---@field p95_ms? number                         95 of 100 are faster (ms)
---@field p99_ms? number                         99 of 100 are faster (ms)
---@field queue? number                          requests that wait for a backend
---@field since_up_s? number                     since the last step up (s)
---@field since_down_s? number                   since the last step down (s)
---@field sample_age_s? number                   age of the figures above (s)
---@field hash number                            chance of this decision, uniform in 0..1
---@field metrics tidegate.MetricsView           what alerts see of the service; unknown numbers are NaN

-- How many instances there should be (a whole number), or nil for no opinion: the present state stays. The
-- reason goes to the log and to `tidegate decisions`. Bounds, cooldowns and work under way are kept by C.
---@alias tidegate.Scale fun(s: tidegate.ServiceView): integer?, string?

-- A policy among the parameters of another: each new() makes an instance of it.
---@class tidegate.Part
---@field name string                            of the policy
---@field new fun(state?: table): tidegate.Scale what it returns decides

-- A span of time that begins as a cron line says, by the clock of a zone.
---@class tidegate.Window
---@field cron string                            minute, hour, day of the month, month, day of the week
---@field zone string                            such as Europe/Berlin
---@field lasting number                         how long it takes (s)
---@field min? integer                           fewest instances in it
---@field max? integer                           most instances in it
---@field initial? integer                       fewest at its beginning
---@field began fun(at: number, within: number): number? the last beginning in the `within` seconds until `at`; seconds since 1970

---@class tidegate.ScaleExample
---@field params? table                          defaults where absent; parts as tidegate.Part
---@field given table                            fields of tidegate.ServiceView
---@field want? integer                          the answer; absent: nil

-- ---- balance: which backend gets this request -----------------------------------------------------

-- A backend: a reference to C's own row, read-only, fresh at each pick.
---@class tidegate.Backend
---@field in_flight number                       requests, over all workers
---@field weight number                          slow start included
---@field max_connections number                 requests that it takes at a time
---@field capacity number                        what it is said to manage (requests/s)
---@field response_ms number                     decayed response time, over all workers; 0 = unknown (ms)
---@field error_rate number                      decayed, over all workers; 0 = none known (0..1)
---@field age_s number                           since it joined (s)
---@field response_mean_ms number                mean of the last 100 answers of all workers; 0 = unknown (ms)
---@field ramp number                            slow start: what part of its own `weight` is (0..1)
---@field tags integer                           bit set of the tags that it has
---@field hash integer                           of its id, 1 .. 2^32 - 1: stable over restarts and reloads
---@field zone integer                           0 = none; equal for equal zones
---@field circuit integer                        0 closed, 1 half-open, 2 open
---@field eligible integer                       0: do not pick (draining, unhealthy, full, already tried)
---@field index integer                          its own place, from 1

-- Hashes and bit sets are whole numbers, 0 .. 2^32 - 1. What a policy's `needs` does not name is 0.
---@class tidegate.Request
---@field now_ms number                          only differences mean something (ms, monotonic)
---@field in_flight number                       requests, of all eligible backends together
---@field changes integer                        another number whenever an eligible or a weight is another
---@field hash integer                           chance of this request, uniform
---@field key integer                            hash of the client's address, or of the route's `key`
---@field tags integer                           bit set of the tags asked for (data_affinity_tags)
---@field dataset integer                        hash of the dataset_id; 0 = none
---@field processing integer                     hash of the processing_type; 0 = none
---@field path integer                           hash of the path
---@field implied integer                        bits of the tags dataset:<id> and processing:<type>
---@field data integer                           1 when it came with a tag, a data set or a processing type
---@field tag_count integer                      tags asked for, had by a backend or not
---@field zone integer                           of the request, else of this tidegate; 0 = none
---@field sticky integer                         index of the backend that its session cookie names; 0 = none
---@field method integer                         0 other, 1 GET, 2 HEAD, 3 POST, 4 PUT, 5 DELETE, 9 PATCH
---@field attempt integer                        0 at first, then 1, 2 for retries

-- What a route's `request` function gets: texts as the client sent them, "" where there is none.
---@class tidegate.RequestHead
---@field method string                          such as GET
---@field host string                            with its port, when it came with one
---@field path string                            not decoded
---@field query string                           behind the "?", not decoded
---@field client string                          its address, without the port
---@field subject string                         of its verified certificate (tls.client_ca), such as "CN=alice"
---@field header fun(name: string): string?      the first field of that name, in upper or lower case

-- What it answers; nil: nothing. The tags as a list or with commas between.
---@class tidegate.RequestData
---@field dataset_id? string|number              the data set asked for
---@field data_affinity_tags? string[]|string    the tags asked for
---@field processing_type? string|number         the kind of work asked for
---@field key? string|number                     hashed; absent: the policy's own key, or the client
---@field zone? string                           absent: that of this tidegate

-- In a configuration: route = { request = function(r) return { dataset_id = r.header "X-Data" } end }
---@alias tidegate.RequestFunction fun(r: tidegate.RequestHead): tidegate.RequestData?

-- Lower is better; nil, NaN or infinity: not this one. Called for eligible backends only.
---@alias tidegate.Score fun(backend: tidegate.Backend, request: tidegate.Request): number?

-- The index of an eligible backend, 1 .. n, or nil for none.
---@alias tidegate.Pick fun(backends: tidegate.Backend[], n: integer, request: tidegate.Request): integer?

-- Before the scores of a request, for what is the same for all of them.
---@alias tidegate.Prepare fun(backends: tidegate.Backend[], n: integer, request: tidegate.Request)

-- Which of a policy's ways this request goes, from 1.
---@alias tidegate.Which fun(backends: tidegate.Backend[], n: integer, request: tidegate.Request): integer

-- One of three: a score is shorter and faster, a pick may keep its own order, and `which` chooses between
-- several of them that stand beside it in a list.
---@class tidegate.Balance
---@field score? tidegate.Score                  the lowest wins
---@field prepare? tidegate.Prepare              only with a score
---@field chose? fun(backend: tidegate.Backend)  only with a score: told what it came to
---@field pick? tidegate.Pick                    the index of one
---@field which? tidegate.Which                  which of several ways

---@class tidegate.BalanceExample
---@field params? table                          defaults where absent
---@field backends table[]                       fields of tidegate.Backend; by default eligible and idle
---@field request? table                         fields of tidegate.Request; 0 where absent
---@field want? integer                          the index; absent: nil

-- ---- anomaly: whether a value is unusual ----------------------------------------------------------

-- What `new` returns. A series is one metric of a service or of one of its instances and learns for itself.
---@class tidegate.Anomaly
---@field metrics tidegate.Metric[]              what is watched
---@field learn fun(metric: string): tidegate.Learned the state of a new series
---@field point tidegate.Point                   takes a point into the state and says how unusual it is
---@field combine? fun(anomalies: table[]): table[] of the service at one moment: drop or change them

-- A table of plain data, or a series of the kernel.
---@alias tidegate.Learned table|tidegate.Series

---@class tidegate.Metric
---@field name string                            what the series is called
---@field of string[]                            paths in the metrics view, at most 4: the value is their mean
---@field per? "service"|"instance"              default: service

-- A score of 1 or more is an anomaly. Called with the state, the value, the second since 1970 and the name
-- of the metric; never for a figure that is not known. With an anomaly comes a tidegate.Note.
---@alias tidegate.Point fun(s: tidegate.Learned, v: number, at: number, m: string): number, tidegate.Note?

---@class tidegate.Note
---@field type? string                           what kind of anomaly
---@field severity? "medium"|"high"              how bad
---@field description? string                    a line for people

-- The kernel, for anomaly policies only.
---@class tidegate.Detector
---@field record fun(settings: tidegate.RecordSettings): tidegate.Series a series of the kernel

---@class tidegate.RecordSettings
---@field half_life_points? number               a record fades by half over the longer of the two
---@field half_life_s? number                    the other of the two (s)
---@field warm_up? number                        points before the first alarm
---@field rest_points? number                    silence after an alarm: this many points
---@field rest_share? number                     and this share of the points so far
---@field rest_most? number                      at most; in points
---@field again? number                          a score this many times the alarm's ends the rest
---@field strictness? number                     scores are divided by it
---@field least_effect? number                   smaller deviations are no alarm
---@field direction? "up"|"down"|"both"          which deviations count
---@field stuck? boolean                         false: standing still is nothing

-- Learning state of one series; 1 KB, saved by tidegate.
---@class tidegate.Series
---@field push fun(self: tidegate.Series, at: number, value: number): number, string, number score, view, usual value

-- `values` so many `times` over, then `more`: which of those is the first anomaly.
---@class tidegate.AnomalyExample
---@field params? table                          defaults where absent
---@field given table                            { metric, values, times = 1, more, every = 300 (seconds) }
---@field want? integer                          absent: none of them

-- ---- alert: whether something is wrong enough to tell ---------------------------------------------

-- The metrics of a service or of an instance at one moment: a copy for each call. Numbers that are not
-- known read as NaN, with which every comparison is false. A group that does not exist raises, and so does
-- a field of resources, traffic and scale that does not; the others have what the service itself says, too.
---@class tidegate.MetricsView
---@field service string                         its name
---@field instance? string                       nil in the view of a service
---@field labels table<string, string>           of the figures
---@field at_ms number                           when the figures are from (ms since 1970)
---@field wall_ms number                         now (ms since 1970)
---@field now number                             only differences mean something (s, monotonic)
---@field health tidegate.Health                 whether it is up
---@field performance tidegate.Performance       how fast it answers
---@field data_processing tidegate.DataProcessing what the service says of its work
---@field data_quality tidegate.DataQuality      what the service says of its data
---@field resources tidegate.Resources           what it uses
---@field traffic tidegate.Traffic               what the balancer counts
---@field scale tidegate.Scaling                 how many there are; not of an instance
---@field prometheus tidegate.Prometheus         the service's own metrics, by name

---@class tidegate.Health
---@field up number                              1 when it gets requests
---@field unhealthy number                       1 when it runs and its check fails
---@field restarts number                        since it was made
---@field restarts_10m number                    in the last ten minutes
---@field oom_kills_10m number                   ended for want of memory, in the last ten minutes
---@field collected number                       1 when the last try to ask it worked
---@field [string] number                        what the service itself says

---@class tidegate.Performance
---@field avg_response_time number               mean (s)
---@field p50 number                             half are faster (s)
---@field p95 number                             95 of 100 are faster (s)
---@field p99 number                             99 of 100 are faster (s)
---@field throughput number                      answers (requests/s)
---@field error_rate number                      failed of all (0..1)
---@field [string] number                        what the service itself says

---@class tidegate.DataProcessing
---@field [string] number                        what the service itself says

---@class tidegate.DataQuality
---@field [string] number                        what the service itself says

---@class tidegate.Resources
---@field cpu_usage number                       of what it may use (percent)
---@field memory_usage number                    of its limit (percent)
---@field memory_bytes number                    in use (bytes)
---@field network tidegate.Network               over its interfaces

---@class tidegate.Network
---@field received_bytes_per_second number       came in (bytes/s)
---@field sent_bytes_per_second number           went out (bytes/s)

-- From the balancer, of the last sample interval.
---@class tidegate.Traffic
---@field rate number                            requests that come (requests/s)
---@field in_flight number                       requests that wait for their answer
---@field queue number                           requests that wait for a backend
---@field p50 number                             half are faster (s)
---@field p95 number                             95 of 100 are faster (s)
---@field p99 number                             99 of 100 are faster (s)
---@field error_rate number                      failed of all (0..1)
---@field retries number                         requests that were repeated (requests/s)
---@field backends number                        that may get requests
---@field open_circuits number                   backends that are not asked

---@class tidegate.Scaling
---@field desired number                         instances, as last decided
---@field up number                              instances that get requests
---@field min number                             fewest that there may be
---@field max number                             most that there may be
---@field at_max number                          1 when there are as many as there may be
---@field wants_more number                      1 when the policy wants more than there may be
---@field deploy_failed number                   1 when the last deploy failed

---@class tidegate.Prometheus
---@field [string] number                        what the service itself says

-- Of tidegate itself: alerts with scope = "tidegate".
---@class tidegate.OwnView
---@field policy_errors_5m number                calls of policies that failed, in the last five minutes
---@field policies_quarantined number            failed too often: not asked until the next reload
---@field failing string                         which policies fail, in words for messages
---@field reload_failed number                   1 when the last reload was refused
---@field engine_up number                       0 or 1
---@field loop_lag number                        how late its loop is (s)
---@field descriptors_exhausted_5m number        times that none was left, in the last five minutes
---@field disk_free number                       of the state directory's file system (0..1)
---@field disk_free_bytes number                 of the same (bytes)
---@field workers number                         processes that carry traffic
---@field notifications_waiting number           that could not be delivered yet
---@field store_errors number                    what could not be written to disk
---@field certificate_days_left number           of the one that expires first (none that ACME renews in time); expired, missing: 0 or less (days)
---@field certificate string                     which one that is, in words for messages
---@field at_ms number                           when the figures are from (ms since 1970)
---@field now number                             only differences mean something (s, monotonic)
---@field wall_ms number                         now (ms since 1970)
---@field labels table<string, string>           of the figures

-- Whether the alert should fire (nil: not known), the value for the message, the message itself.
---@alias tidegate.Alert fun(m: tidegate.MetricsView|tidegate.OwnView): boolean?, number?, string?

---@class tidegate.AlertExample
---@field params? table                          defaults where absent
---@field given table                            fields of the view
---@field want? boolean                          absent: nil

-- ---- notify: whom to tell -------------------------------------------------------------------------

-- A message about a group of alerts, shaped as Alertmanager's webhook has it.
---@class tidegate.Notice
---@field status "firing"|"resolved"             of the group
---@field severity "info"|"warning"|"critical"   the worst in the group
---@field channels string[]                      that the alerts name
---@field alerts table[]                         { status, labels, annotations, startsAt, endsAt }
---@field groupLabels table<string, string>      what the group has in common by `group_by`
---@field commonLabels table<string, string>     labels that all of them have
---@field commonAnnotations table<string, string> texts that all of them have

-- Names of channels; {} for nobody, nil for those that the alerts name.
---@alias tidegate.Notify fun(n: tidegate.Notice): string[]?

-- In a channel: template = function(n) return "text" end
---@alias tidegate.Template fun(n: tidegate.Notice): string

---@class tidegate.NotifyExample
---@field params? table                          defaults where absent
---@field given table                            fields of tidegate.Notice
---@field want? string                           the channels with ", " between; absent: nil

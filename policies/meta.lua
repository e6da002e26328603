---@meta
-- meta.lua: every view that C gives to a policy and every answer it takes, for editors that understand LuaLS
-- annotations. Nothing here runs. Units are in the names or said behind the field; `?`: nil while unknown.

-- ---- A policy file returns one of these -----------------------------------------------------------

---@class tidegate.Policy
---@field name string                            as the file is called, without .lua
---@field doc string                             a sentence: what it decides
---@field params table<string, tidegate.Param>  what the configuration may set
---@field new fun(params: table): tidegate.Scale|tidegate.Balance   once for each service or route
---@field examples? tidegate.ScaleExample[]|tidegate.BalanceExample[]

-- Durations come as seconds and sizes as bytes.
---@alias tidegate.ParamType "number"|"integer"|"boolean"|"string"|"duration"|"size"|"enum"

---@class tidegate.Param
---@field type tidegate.ParamType
---@field default? any
---@field min? number
---@field max? number
---@field values? string[]                       of an enum
---@field unit? string
---@field required? boolean|string               it has no default; a string says why
---@field doc? string

-- ---- scale: how many instances --------------------------------------------------------------------

-- A service at one moment: a fresh copy for each call. Any other field raises and names the nearest one.
---@class tidegate.ServiceView
---@field service string                         its name
---@field now number                             seconds, monotonic: only differences mean something
---@field instances integer                      up: they get requests
---@field desired integer                        as the last decision wanted
---@field starting integer                       on their way up
---@field min integer
---@field max integer
---@field cpu_percent? number                    of what an instance may use, mean over the instances
---@field memory_percent? number                 of its limit, mean over the instances
---@field in_flight? number                      requests that wait for their answer
---@field rate? number                           requests/s
---@field error_rate? number                     0..1: failed of all requests
---@field p50_ms? number                         response times
---@field p95_ms? number
---@field p99_ms? number
---@field queue? number                          requests that wait for a backend
---@field since_up_s? number                     since the last step up
---@field since_down_s? number                   since the last step down
---@field sample_age_s? number                   age of the figures above
---@field hash number                            chance of this decision, uniform in 0..1

-- How many instances there should be (a whole number), or nil for no opinion: the present state stays. The
-- reason goes to the log and to `tidegate decisions`. Bounds, cooldowns and work under way are kept by C.
---@alias tidegate.Scale fun(s: tidegate.ServiceView): integer?, string?

---@class tidegate.ScaleExample
---@field params? table                          defaults where absent
---@field given table                            fields of tidegate.ServiceView
---@field want? integer                          the answer; absent: nil

-- ---- balance: which backend gets this request -----------------------------------------------------

-- A backend: a reference to C's own row, read-only, fresh at each pick.
---@class tidegate.Backend
---@field in_flight number                       requests, over all workers
---@field weight number
---@field max_connections number
---@field capacity number                        requests/s
---@field response_ms number                     decayed response time; 0 = unknown
---@field error_rate number                      0..1, decayed; 0 = none known
---@field age_s number                           since it joined
---@field eligible integer                       0: do not pick (draining, unhealthy, full, already tried)
---@field index integer                          its own place, from 1

---@class tidegate.Request
---@field now_ms number                          monotonic
---@field hash integer                           chance of this request, uniform in 0 .. 2^32 - 1
---@field key integer                            hash of the client's address, 0 .. 2^32 - 1
---@field method integer
---@field attempt integer                        0 at first, then 1, 2 for retries

-- Lower is better; nil, NaN or infinity: not this one. Called for eligible backends only.
---@alias tidegate.Score fun(backend: tidegate.Backend, request: tidegate.Request): number?
-- The index of an eligible backend, 1 .. n, or nil for none.
---@alias tidegate.Pick fun(backends: tidegate.Backend[], n: integer, request: tidegate.Request): integer?

-- One of the two: a score is shorter and faster, a pick may keep its own order.
---@class tidegate.Balance
---@field score? tidegate.Score
---@field pick? tidegate.Pick

---@class tidegate.BalanceExample
---@field params? table                          defaults where absent
---@field backends table[]                       fields of tidegate.Backend; by default eligible and idle
---@field request? table                         fields of tidegate.Request; 0 where absent
---@field want? integer                          the index; absent: nil

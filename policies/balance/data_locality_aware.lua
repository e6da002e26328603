-- data_locality_aware.lua: the backend that is near the data of the request, while it is not overrun.
--
-- Sees     tags, in_flight, weight, response_ms; request.tags, tag_count, implied, data, in_flight
-- Answers  an index; among equal ones chance decides
-- Params   scoring ("cost", "seed"), remote, slots, balance_factor
-- Example  the request wants dataset:orders, the second backend has it -> the second
--
-- Tags are asked for by name (data_affinity_tags), and implied by the data set and the kind of work:
-- dataset_id "orders" wants the tag "dataset:orders", processing_type "gpu" the tag "processing:gpu". The
-- cost of a backend is its load, (in_flight / slots + 1), times `remote` when none of the tags is there, and
-- in between when some are. Who has more than balance_factor times its share of the requests in flight is
-- passed over. A request that says nothing of data goes where the answer is expected first.
--
-- scoring = "seed": 10 for each tag asked for, 5 below 80 % of max_connections, and 10 less the seconds of
-- the mean response time; the first of the best. It adds what has no common unit and fills a backend to 80
-- connections before it spills over; it is here for those who compare.
local band, bor, bnot, rshift, tobit = bit.band, bit.bor, bit.bnot, bit.rshift, bit.tobit
local max, huge = math.max, math.huge

-- How many bits are set.
local function bits(x)
    x = tobit(x - band(rshift(x, 1), 0x55555555))
    x = band(x, 0x33333333) + band(rshift(x, 2), 0x33333333)
    x = band(x + rshift(x, 4), 0x0f0f0f0f)
    x = x + rshift(x, 8)
    return band(x + rshift(x, 16), 0x3f)
end

-- The points, to the letter; without data the least mean response time.
local function seed_pick(backends, n, request)
    local chosen, best = nil, -huge
    if request.data == 0 then
        best = huge
        for i = 1, n do
            local backend = backends[i]
            if backend.eligible ~= 0 and backend.response_mean_ms < best then
                best, chosen = backend.response_mean_ms, i
            end
        end
        return chosen
    end
    local tags = tobit(request.tags)
    for i = 1, n do
        local backend = backends[i]
        if backend.eligible ~= 0 then
            local score = 10 * bits(band(tags, tobit(backend.tags)))
            if backend.in_flight < backend.max_connections * 0.8 then
                score = score + 5
            end
            if backend.response_mean_ms > 0 then
                score = score + max(0, 10 - backend.response_mean_ms / 1000)
            end
            if score > best then
                best, chosen = score, i
            end
        end
    end
    return chosen
end

return {
    name = "data_locality_aware",
    doc = "Takes the backend that has the data of the request, within bounds of its load.",
    params = {
        scoring = { type = "enum", values = { "cost", "seed" }, default = "cost",
            doc = "estimated cost within a bound, or the sum of points" },
        remote = { type = "number", default = 3, min = 1, max = 1000,
            doc = "how many times a request costs where its data is not" },
        slots = { type = "number", default = 4, min = 0.01, max = 100000,
            doc = "requests that a backend of weight 1 serves side by side" },
        balance_factor = { type = "number", default = 2, min = 0, max = 1000,
            doc = "most load of a backend, as a multiple of its share; 0 = no bound" },
    },
    needs = { "tags", "tag_count", "implied", "data", "response_mean_ms" },
    new = function(params)
        local remote, slots, factor = params.remote - 1, params.slots, params.balance_factor
        if factor ~= 0 and factor < 1 then
            error "balance_factor is 0 for no bound, or at least 1"
        end
        if params.scoring == "seed" then
            return { pick = seed_pick }
        end

        local per_slot = 1 / slots
        -- Of the request: most load for a weight of 1, the tags it asks for, what it costs where none of them
        -- is, and how much less for each that is there. By one tag: for each unit of its bit.
        local bound, tags, far, near = 0, 0, 0, 0
        local weights, changes, known = 0, -1, 0

        local function prepare(backends, n, request)
            if request.changes ~= changes or n ~= known then
                changes, known, weights = request.changes, n, 0
                for i = 1, n do
                    weights = weights + (backends[i].eligible ~= 0 and backends[i].weight or 0)
                end
            end
            bound = factor == 0 and huge or factor * (request.in_flight + 1) / weights
            local named, implied = tobit(request.tags), tobit(request.implied)
            tags = bor(named, implied)
            local asked = request.tag_count + bits(band(implied, bnot(named)))
            far, near = 1 + (asked > 0 and remote or 0), remote / max(asked, 1)
        end

        local function prepare_one(backends, n, request)
            prepare(backends, n, request)
            near = near / tags
        end

        local function by_tag(backend)
            local load, here = backend.in_flight / backend.weight, band(tags, tobit(backend.tags))
            return load < bound and (load * per_slot + 1) * (far - here * near) or nil
        end

        local function by_tags(backend)
            local load = backend.in_flight / backend.weight
            local here = bits(band(tags, tobit(backend.tags)))
            return load < bound and (load * per_slot + 1) * (far - here * near) or nil
        end

        local function by_wait(backend)
            return max(backend.response_ms, 0.1) * (backend.in_flight + 1) / backend.weight
        end

        return {
            -- Most requests ask for one tag; then nothing has to be counted.
            which = function(_, _, request)
                if request.data == 0 then
                    return 3
                end
                local all = bor(tobit(request.tags), tobit(request.implied))
                return request.tag_count <= 1 and all ~= 0 and band(all, all - 1) == 0 and 1 or 2
            end,
            { score = by_tag, prepare = prepare_one },
            { score = by_tags, prepare = prepare },
            { score = by_wait },
        }
    end,
    examples = {
        { backends = { { tags = 1 }, { tags = 2 }, { tags = 4 } }, want = 2,
            request = { data = 1, tags = 2, tag_count = 1 } },
        { backends = { { tags = 1 }, { tags = 2 } }, request = { data = 1, implied = 2 }, want = 2 },
        { backends = { { tags = 1 }, { tags = 3 } }, want = 2,
            request = { data = 1, tags = 3, tag_count = 2 } },
        { backends = { { tags = 1, in_flight = 4, weight = 2 }, { tags = 2, in_flight = 3 } }, want = 1,
            request = { data = 1, tags = 1, tag_count = 1 } },
        { backends = { { tags = 1, in_flight = 20 }, { tags = 2 } }, want = 2,
            request = { data = 1, tags = 1, tag_count = 1 } },
        { backends = { { response_ms = 20, tags = 1 }, { response_ms = 5 } }, want = 2 },
        { params = { scoring = "seed" }, want = 1,
            backends = { { tags = 1, in_flight = 79, response_mean_ms = 900 },
                { tags = 2, response_mean_ms = 5 } },
            request = { data = 1, tags = 1, tag_count = 1 } },
        { params = { scoring = "seed" }, want = 2,
            backends = { { response_mean_ms = 20 }, { response_mean_ms = 5 } } },
    },
}

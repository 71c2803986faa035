/* `token_count` rows of Codex rollouts, as ``clients.codex_pack`` takes them.
 *
 * Here: which lines are passed over, and which rows go on from the one before as nearly all do, with their columns.
 * Not here: any other row: the Python packer takes it.  The reducer's state is the careful reader's own; it is kept in
 * numbers while rows follow one another, and handed back before anybody else looks at it.
 */
#include "bulk.h"

enum { TAIL = 2048, VECTOR = 5, LONGEST_TEXT = 1024 };
static const char TIMED[] = "{\"timestamp\":\"";
enum { TIMED_SIZE = sizeof(TIMED) - 1, AFTER_TIME = TIMED_SIZE + 24 };
static const char *const SKIPPED[] = {
    "\",\"type\":\"response_item\",\"payload\":{",
    "\",\"type\":\"compacted\",\"payload\":{",
    "\",\"type\":\"event_msg\",\"payload\":{\"type\":\"agent_",
    "\",\"type\":\"event_msg\",\"payload\":{\"type\":\"user_message\"",
};

/* In the order of ``contracts.record.Vector``; `tokens` beside it is the log's own sum. */
typedef struct {
    int64_t counts[VECTOR];
    int64_t tokens;
    bool is_there;
} Counts;
enum { INCLUSIVE, CACHED, WRITE, OUTPUT, REASONING };

typedef struct {
    Counts total, last;
    bool is_there;
} Info;

typedef struct {
    Info info;
    bool is_token_count;
} Payload;

typedef struct {
    Text time;
    Payload payload;
    bool is_event;
} Row;

/* What a turn's context tells. */
typedef struct {
    Text model, folder;
} Turn;

typedef struct {
    Block block;
    PyObject *reducer, *seen, *numbers, *extras;
    PyObject *repeated, *replayed; /* what the file says against such rows */
    int64_t tiered_from_us;
    int64_t previous[VECTOR], counted[VECTOR];
    bool has_previous, is_loaded, is_changed;
    int64_t spawn_second; /* a spawned thread's rows of this second are its parent's */
    long places[4];
    int64_t heartbeats;
    bool has_turn; /* this turn's context holds: nobody else has looked at a line since */
    Turn turn;
} Codex;

static const byte *read_counts(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("input_tokens", Counts, counts[INCLUSIVE], read_count),
        MEMBER("cached_input_tokens", Counts, counts[CACHED], read_count),
        MEMBER("output_tokens", Counts, counts[OUTPUT], read_count),
        MEMBER("reasoning_output_tokens", Counts, counts[REASONING], read_count),
        MEMBER("total_tokens", Counts, tokens, read_count),
        MEMBER("cache_write_input_tokens", Counts, counts[WRITE], read_count),
    };
    Counts *counts = to;
    for (int place = 0; place < VECTOR; place++) counts->counts[place] = NO_COUNT;
    counts->tokens = NO_COUNT;
    counts->is_there = !is_null(at, end);
    return counts->is_there ? READ_OBJECT(at, end, members, counts, OTHERS_REFUSED) : after_null(at, end);
}

static const byte *read_info(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("total_token_usage", Info, total, read_counts),
        MEMBER("last_token_usage", Info, last, read_counts),
        NULL_MEMBER("model"),
    };
    Info *info = to;
    info->is_there = !is_null(at, end);
    return info->is_there ? READ_OBJECT(at, end, members, info, OTHERS_PASSED) : after_null(at, end);
}

/* A type that has to be just this one: no need to read on where it is another. */
static const byte *read_type(const byte *at, const byte *end, const char *type, bool *is_it) {
    Text text;
    const byte *after = read_text(at, end, &text);
    *is_it = after && text_is(&text, type);
    return *is_it ? after : NULL;
}

static const byte *read_token_count(const byte *at, const byte *end, void *to) {
    return read_type(at, end, "token_count", to);
}

static const byte *read_event_msg(const byte *at, const byte *end, void *to) {
    return read_type(at, end, "event_msg", to);
}

static const byte *read_payload(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("type", Payload, is_token_count, read_token_count),
        MEMBER("info", Payload, info, read_info),
        NULL_MEMBER("model"),
        NULL_MEMBER("model_name"),
        NULL_MEMBER("metadata"),
    };
    return READ_OBJECT(at, end, members, to, OTHERS_PASSED);
}

static const byte *read_row(const byte *at, const byte *end, Row *row) {
    static const Member members[] = {
        MEMBER("timestamp", Row, time, read_text),
        MEMBER("type", Row, is_event, read_event_msg),
        MEMBER("payload", Row, payload, read_payload),
    };
    return READ_OBJECT(at, end, members, row, OTHERS_PASSED);
}

/* ---------------------------------------------------------------- the reducer's state */

static bool read_vector(PyObject *found, int64_t vector[VECTOR]) {
    PyObject *tuple = PySequence_Tuple(found);
    if (!tuple) return false;
    bool fits = PyTuple_GET_SIZE(tuple) == VECTOR;
    for (int place = 0; fits && place < VECTOR; place++)
        vector[place] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, place));
    Py_DECREF(tuple);
    if (!fits) PyErr_SetString(PyExc_ValueError, "a vector has five counters");
    return !PyErr_Occurred();
}

/* Numbers of contexts are asked for again. */
static void forget_places(Codex *codex) {
    for (int place = 0; place < 4; place++) codex->places[place] = -1;
}

/* Fetches what others may have changed. */
static bool load(Codex *codex) {
    if (codex->is_loaded) return true;
    PyObject *state = PyObject_CallMethod(codex->block.packer, "reducer_state", NULL);
    if (!state) return false;
    PyObject *previous, *counted;
    long long spawn_second;
    bool done = false;
    if (PyArg_ParseTuple(state, "OOL", &previous, &counted, &spawn_second)) {
        codex->has_previous = previous != Py_None;
        codex->spawn_second = spawn_second;
        done = (!codex->has_previous || read_vector(previous, codex->previous)) && read_vector(counted, codex->counted);
    }
    Py_DECREF(state);
    forget_places(codex);
    codex->is_loaded = done;
    return done;
}

/* Hands back what was changed here. */
static bool store(Codex *codex) {
    codex->is_loaded = false;
    if (!codex->is_changed) return true;
    codex->is_changed = false;
    PyObject *previous = new_tuple(codex->previous, VECTOR), *counted = new_tuple(codex->counted, VECTOR);
    bool done = previous && counted && PyObject_SetAttrString(codex->reducer, "previous", previous) == 0 &&
                PyObject_SetAttrString(codex->reducer, "counted", counted) == 0;
    Py_XDECREF(previous);
    Py_XDECREF(counted);
    return done;
}

static long place_of(Codex *codex, bool is_tiered, bool has_write) {
    long *place = &codex->places[2 * is_tiered + has_write];
    if (*place < 0) {
        PyObject *found = PyObject_CallMethod(codex->block.packer, "place_of", "ii", is_tiered, has_write);
        if (!found) return -1;
        *place = PyLong_AsLong(found);
        Py_DECREF(found);
    }
    return *place;
}

/* ---------------------------------------------------------------- rows */

static bool is_zero(const int64_t vector[VECTOR]) {
    return !vector[0] && !vector[1] && !vector[2] && !vector[3] && !vector[4];
}

/* The row's values: what it bills, both sums of the log, and the latest request where there is one. */
static Counters values_of(const int64_t billed[VECTOR], const Counts *total, const Counts *last,
                          const int64_t latest[VECTOR]) {
    Counters values = {.size = last->is_there ? 2 * VECTOR + 2 : VECTOR + 2};
    memcpy(values.counts, billed, VECTOR * sizeof *billed);
    values.counts[VECTOR] = total->tokens;
    values.counts[VECTOR + 1] = last->is_there ? last->tokens : NO_COUNT;
    memcpy(values.counts + VECTOR + 2, latest, VECTOR * sizeof *latest);
    return values;
}

/* Whether a line opens as a row of some type. */
static bool opens_as(const byte *at, const byte *end, const char *type) {
    size_t size = strlen(type);
    return (size_t)(end - at) >= AFTER_TIME + size && !memcmp(at, TIMED, TIMED_SIZE) &&
           !memcmp(at + AFTER_TIME, type, size);
}

static const byte *refuse(const byte *at, const byte *end, void *to) {
    (void)at, (void)end, (void)to;
    return NULL;
}
#define REFUSED_MEMBER(key) {key, sizeof(key) - 1, 0, refuse}

static const byte *read_turn(const byte *at, const byte *end, Turn *turn) {
    static const Member members[] = {
        MEMBER("model", Turn, model, read_text),
        MEMBER("cwd", Turn, folder, read_text),
        /* the careful reader looks at these */
        REFUSED_MEMBER("model_name"),
        REFUSED_MEMBER("metadata"),
        REFUSED_MEMBER("type"),
        REFUSED_MEMBER("info"),
        REFUSED_MEMBER("id"),
        REFUSED_MEMBER("cli_version"),
        REFUSED_MEMBER("forked_from_id"),
        REFUSED_MEMBER("source"),
        REFUSED_MEMBER("git"),
    };
    const byte *after = READ_OBJECT(at, end, members, turn, OTHERS_PASSED);
    return turn->model.is_odd || turn->folder.is_odd ? NULL : after;
}

/* A text that the careful reader takes as it stands. */
static bool is_kept(const Text *text) { return text->at && text->size && text->size <= LONGEST_TEXT; }

/* A turn's context: the model from here on, and the folder where none is known yet. */
static enum Outcome take_turn(Codex *codex, const byte *at, const byte *stop) {
    static const char opening[] = "\",\"type\":\"turn_context\",\"payload\":";
    Turn turn = {0};
    Text time = {.at = at + TIMED_SIZE, .size = 24};
    Moment moment;
    if (!opens_as(at, stop, opening) || !read_moment(&time, &moment)) return LEFT;
    const byte *after = read_turn(at + AFTER_TIME + sizeof opening - 1, stop, &turn);
    if (!after || after + 1 != stop || *after != '}') return LEFT;
    if (!is_kept(&turn.model) || (turn.folder.at && !is_kept(&turn.folder))) return LEFT;
    if (codex->has_turn && same_text(&turn.model, &codex->turn.model) && same_text(&turn.folder, &codex->turn.folder))
        return TAKEN;
    PyObject *model = new_text(&turn.model), *folder = new_text(&turn.folder);
    PyObject *done = model && folder
                         ? PyObject_CallMethod(codex->block.packer, "take_turn", "OO", model, folder) : NULL;
    Py_XDECREF(model);
    Py_XDECREF(folder);
    if (!done) return FAILED;
    Py_DECREF(done);
    forget_places(codex);
    codex->has_turn = true;
    codex->turn = turn;
    return TAKEN;
}

/* Notes what the row's own file says against it. */
static bool mark(const Codex *codex, Py_ssize_t at, PyObject *extra) {
    PyObject *row = PyLong_FromSsize_t(at);
    bool done = row && PyDict_SetItem(codex->extras, row, extra) == 0;
    Py_XDECREF(row);
    return done;
}

static enum Outcome take_row(Codex *codex, const byte *at, const byte *stop) {
    const Block *block = &codex->block;
    Row row = {0};
    if (read_row(at, stop, &row) != stop || !row.is_event || !row.payload.is_token_count) return LEFT;
    const Info *info = &row.payload.info;
    Moment moment;
    if (!row.time.at || !read_moment(&row.time, &moment)) return LEFT;
    if (!info->is_there) {
        codex->heartbeats++;
        return TAKEN;
    }
    const int64_t *told = info->total.counts;
    if (!info->total.is_there || told[INCLUSIVE] < 0 || told[CACHED] < 0 || told[OUTPUT] < 0 || told[REASONING] < 0 ||
        (!told[INCLUSIVE] && !told[OUTPUT]) || !is_believed(block, &moment))
        return LEFT;
    bool has_write = told[WRITE] >= 0;
    int64_t total[VECTOR], latest[VECTOR], billed[VECTOR] = {0};
    for (int place = 0; place < VECTOR; place++) {
        total[place] = told[place] < 0 ? 0 : told[place];
        latest[place] = info->last.counts[place] < 0 ? 0 : info->last.counts[place];
    }
    if (info->last.is_there && is_zero(latest)) return LEFT;
    if (!load(codex)) return FAILED;
    bool is_replayed = moment.us / 1000000 == codex->spawn_second;

    PyObject *identity = new_tuple(total, VECTOR);
    if (!identity) return FAILED;
    int is_repeated = PySet_Contains(codex->seen, identity);
    PyObject *number = is_repeated < 0 ? NULL : PyDict_GetItemWithError(codex->numbers, identity);
    if (is_repeated < 0 || PyErr_Occurred()) {
        Py_DECREF(identity);
        return FAILED;
    }
    if (!is_repeated) {
        bool goes_on = !number;
        for (int place = 0; place < VECTOR; place++) {
            if (codex->has_previous) {
                billed[place] = total[place] - codex->previous[place];
                goes_on = goes_on && billed[place] >= 0 && (!info->last.is_there || billed[place] == latest[place]);
            } else { /* the first row of all bills its latest request */
                billed[place] = info->last.is_there ? latest[place] : total[place];
            }
        }
        if (!goes_on || is_zero(billed) || billed[CACHED] + billed[WRITE] > billed[INCLUSIVE] ||
            billed[REASONING] > billed[OUTPUT]) {
            Py_DECREF(identity);
            return LEFT;
        }
    }
    long place = place_of(codex, moment.us >= codex->tiered_from_us, has_write);
    bool done = place >= 0;
    if (done && (is_repeated || is_replayed))
        done = mark(codex, block->offsets->count, is_repeated ? codex->repeated : codex->replayed);
    if (done && !is_repeated) {
        done = PySet_Add(codex->seen, identity) == 0;
        memcpy(codex->previous, total, sizeof total);
        for (int one = 0; one < VECTOR; one++) codex->counted[one] += billed[one];
        codex->has_previous = codex->is_changed = true;
    }
    Py_ssize_t event = -1;
    if (done) {
        event = number ? PyLong_AsSsize_t(number)
                       : begin_event(block, codex->numbers, identity, identity, moment.us);
    }
    Py_DECREF(identity);
    if (event < 0) return FAILED;
    Counters values = values_of(billed, &info->total, &info->last, latest);
    return append_row(&codex->block, at, stop, moment.us, place, event, &values) ? TAKEN : FAILED;
}

/* A conversation item in the writer's own layout, with no usage row glued behind it. */
static bool is_passed_over(const byte *at, const byte *end) {
    if (end - at < AFTER_TIME || memcmp(at, TIMED, TIMED_SIZE)) return false;
    for (size_t kind = 0; kind < sizeof SKIPPED / sizeof *SKIPPED; kind++) {
        size_t size = strlen(SKIPPED[kind]);
        if ((size_t)(end - at) >= AFTER_TIME + size && !memcmp(at + AFTER_TIME, SKIPPED[kind], size))
            return !holds(end - at > TAIL ? end - TAIL : at, end, "\"token_count\"", 13);
    }
    return false;
}

static bool take_lines(Codex *codex, const byte **at) {
    const byte *end;
    while (*at < codex->block.end && (end = memchr(*at, '\n', (size_t)(codex->block.end - *at)))) {
        if (end > *at && !is_passed_over(*at, end)) {
            const byte *stop = end[-1] == '\r' ? end - 1 : end;
            if (measured_stage != ALL_STAGES) {
                Row row = {0};
                if (measured_stage == DECODE_STAGE) read_row(*at, stop, &row);
                *at = end + 1;
                continue;
            }
            enum Outcome outcome = LEFT;
            bool is_turn = opens_as(*at, stop, "\",\"type\":\"turn_context\"");
            /* the careful reader takes any line; one that may be a usage row after all goes by the Python packer */
            bool is_careful = (is_turn || opens_as(*at, stop, "\",\"type\":\"session_meta\"")) &&
                              !holds(*at, stop, "token_count", 11);
            if (is_turn) outcome = take_turn(codex, *at, stop);
            else if (!is_careful) outcome = take_row(codex, *at, stop);
            if (outcome == FAILED) return false;
            if (outcome == LEFT) {
                codex->has_turn = false;
                if (!store(codex) || !give_line(&codex->block, *at, stop, is_careful)) return false;
            }
        }
        *at = end + 1;
    }
    return true;
}

/* Hands back all that the lines so far have come to. */
static bool settle(Codex *codex) {
    if (codex->reducer && !store(codex)) return false;
    if (!codex->heartbeats) return true;
    PyObject *done =
        PyObject_CallMethod(codex->block.packer, "count_heartbeats", "L", (long long)codex->heartbeats);
    Py_XDECREF(done);
    return done != NULL;
}

PyObject *take_codex(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    Codex codex = {0};
    if (!open_block(&codex.block, given, count)) return NULL;
    const byte *at = codex.block.first;
    bool done = (codex.numbers = PyObject_GetAttrString(given[0], "_numbers")) &&
                (codex.extras = PyObject_GetAttrString(given[0], "_extras")) &&
                (codex.reducer = PyObject_GetAttrString(given[0], "_reducer")) &&
                (codex.seen = PyObject_GetAttrString(codex.reducer, "seen")) &&
                (codex.repeated = PyObject_GetAttrString(given[0], "repeated")) &&
                (codex.replayed = PyObject_GetAttrString(given[0], "replayed")) &&
                get_int(given[0], "_tiered_from_us", &codex.tiered_from_us) && take_lines(&codex, &at);
    if (done) {
        done = settle(&codex);
    } else { /* the rows before the trouble stay, and so must what they came to */
        PyObject *kind, *trouble, *trace;
        PyErr_Fetch(&kind, &trouble, &trace);
        if (!settle(&codex)) PyErr_Clear();
        PyErr_Restore(kind, trouble, trace);
    }
    Py_ssize_t used = at - codex.block.first;
    Py_XDECREF(codex.numbers);
    Py_XDECREF(codex.extras);
    Py_XDECREF(codex.reducer);
    Py_XDECREF(codex.seen);
    Py_XDECREF(codex.repeated);
    Py_XDECREF(codex.replayed);
    close_block(&codex.block);
    return done ? PyLong_FromSsize_t(used) : NULL;
}

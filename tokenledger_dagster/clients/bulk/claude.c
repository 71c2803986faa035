/* Usage rows of Claude Code transcripts, as ``clients.claude_pack`` takes them.
 *
 * Here: which lines are passed over, and which rows are of the writer's own layout, with their columns.  Not here: any
 * other row, and whatever is to be told of a context's texts: the Python packer decides.  What a value means stands
 * there, too; this file follows it step by step.
 */
#include "bulk.h"

enum { HEAD = 1536, TAIL = 1024 };
static const char USER[] = "\"message\":{\"role\":\"user\"";
enum { BEFORE_BRACE = 10, USER_SIZE = sizeof(USER) - 1 };
enum { LONGEST_ID = 1024 };

typedef struct {
    Text tier, geo, speed;
    int64_t fresh, write, read, output, five, hour, searches, fetches;
    bool is_there, has_split, has_tools, has_no_iterations;
} Usage;

typedef struct {
    Text id, model;
    Usage usage;
    bool is_there;
} Message;

typedef struct {
    Text session, agent, cwd, branch, version, request;
    Text time;
    Message message;
    bool is_sidechain, has_nested;
    Text nested_agent, nested_request, nested_time;
    Message nested;
} Row;

/* What makes the context of a row, as it stands in the line. */
enum { TEXTS = 9 };
typedef struct {
    Text texts[TEXTS];
    byte flags;
} Raw;
enum { IS_SIDECHAIN = 1, IS_PROGRESS = 2, HAS_NO_ITERATIONS = 4 };

#define ONCE(bit) do { if (seen & (1u << (bit))) return NULL; seen |= 1u << (bit); } while (0)
#define READ(call) do { if (!(walk.at = (call))) return NULL; } while (0)

static const byte *read_counts(const byte *at, const byte *end, bool *is_there, const char *first_name,
                               int64_t *first, const char *second_name, int64_t *second) {
    Walk walk;
    unsigned seen = 0;
    size_t first_size = strlen(first_name), second_size = strlen(second_name);
    *first = *second = NO_COUNT;
    *is_there = false;
    if (*at == 'n') return after_null(at, end);
    if (!begin_object(&walk, at, end)) return NULL;
    while (next_key(&walk)) {
        if (walk.size == first_size && !memcmp(walk.key, first_name, first_size)) {
            ONCE(0);
            READ(read_count(walk.at, end, first));
        } else if (walk.size == second_size && !memcmp(walk.key, second_name, second_size)) {
            ONCE(1);
            READ(read_count(walk.at, end, second));
        } else {
            return NULL;
        }
    }
    *is_there = true;
    return walk.is_bad ? NULL : walk.at;
}

static const byte *read_usage(const byte *at, const byte *end, Usage *usage) {
    Walk walk;
    unsigned seen = 0;
    usage->fresh = usage->write = usage->read = usage->output = NO_COUNT;
    if (!begin_object(&walk, at, end)) return NULL; /* null, too, is for others to count */
    while (next_key(&walk)) {
        if (KEY_IS(walk, "input_tokens")) {
            ONCE(0);
            READ(read_count(walk.at, end, &usage->fresh));
        } else if (KEY_IS(walk, "cache_creation_input_tokens")) {
            ONCE(1);
            READ(read_count(walk.at, end, &usage->write));
        } else if (KEY_IS(walk, "cache_read_input_tokens")) {
            ONCE(2);
            READ(read_count(walk.at, end, &usage->read));
        } else if (KEY_IS(walk, "output_tokens")) {
            ONCE(3);
            READ(read_count(walk.at, end, &usage->output));
        } else if (KEY_IS(walk, "cache_creation")) {
            ONCE(4);
            READ(read_counts(walk.at, end, &usage->has_split, "ephemeral_5m_input_tokens", &usage->five,
                             "ephemeral_1h_input_tokens", &usage->hour));
        } else if (KEY_IS(walk, "server_tool_use")) {
            ONCE(5);
            READ(read_counts(walk.at, end, &usage->has_tools, "web_search_requests", &usage->searches,
                             "web_fetch_requests", &usage->fetches));
        } else if (KEY_IS(walk, "service_tier")) {
            ONCE(6);
            READ(read_text(walk.at, end, &usage->tier));
        } else if (KEY_IS(walk, "inference_geo")) {
            ONCE(7);
            READ(read_text(walk.at, end, &usage->geo));
        } else if (KEY_IS(walk, "speed")) {
            ONCE(8);
            READ(read_text(walk.at, end, &usage->speed));
        } else if (KEY_IS(walk, "iterations")) {
            ONCE(9);
            if (*walk.at == 'n') {
                READ(after_null(walk.at, end));
            } else {
                READ(after_word(walk.at, end, "[]", 2));
                usage->has_no_iterations = true;
            }
        } else {
            return NULL;
        }
    }
    usage->is_there = true;
    return walk.is_bad ? NULL : walk.at;
}

static const byte *read_message(const byte *at, const byte *end, Message *message) {
    Walk walk;
    unsigned seen = 0;
    if (*at == 'n') return after_null(at, end);
    if (!begin_object(&walk, at, end)) return NULL;
    while (next_key(&walk)) {
        if (KEY_IS(walk, "id")) {
            ONCE(0);
            READ(read_text(walk.at, end, &message->id));
        } else if (KEY_IS(walk, "model")) {
            ONCE(1);
            READ(read_text(walk.at, end, &message->model));
        } else if (KEY_IS(walk, "usage")) {
            ONCE(2);
            READ(read_usage(walk.at, end, &message->usage));
        } else {
            READ(after_value(walk.at, end));
        }
    }
    message->is_there = true;
    return walk.is_bad ? NULL : walk.at;
}

/* The message within a progress row. */
static const byte *read_nested(const byte *at, const byte *end, Row *row) {
    Walk walk;
    unsigned seen = 0;
    if (*at == 'n') return after_null(at, end);
    if (!begin_object(&walk, at, end)) return NULL;
    while (next_key(&walk)) {
        if (KEY_IS(walk, "timestamp")) {
            ONCE(0);
            READ(read_text(walk.at, end, &row->nested_time));
        } else if (KEY_IS(walk, "requestId")) {
            ONCE(1);
            READ(read_text(walk.at, end, &row->nested_request));
        } else if (KEY_IS(walk, "message")) {
            ONCE(2);
            READ(read_message(walk.at, end, &row->nested));
        } else {
            READ(after_value(walk.at, end));
        }
    }
    return walk.is_bad ? NULL : walk.at;
}

static const byte *read_progress(const byte *at, const byte *end, Row *row) {
    Walk walk;
    unsigned seen = 0;
    if (*at == 'n') return after_null(at, end);
    if (!begin_object(&walk, at, end)) return NULL;
    while (next_key(&walk)) {
        if (KEY_IS(walk, "agentId")) {
            ONCE(0);
            READ(read_text(walk.at, end, &row->nested_agent));
        } else if (KEY_IS(walk, "message")) {
            ONCE(1);
            READ(read_nested(walk.at, end, row));
        } else {
            READ(after_value(walk.at, end));
        }
    }
    row->has_nested = true;
    return walk.is_bad ? NULL : walk.at;
}

static const byte *read_row(const byte *at, const byte *end, Row *row) {
    Walk walk;
    unsigned seen = 0;
    if (at == end || !begin_object(&walk, at, end)) return NULL;
    while (next_key(&walk)) {
        if (KEY_IS(walk, "sessionId")) {
            ONCE(0);
            READ(read_text(walk.at, end, &row->session));
        } else if (KEY_IS(walk, "message")) {
            ONCE(1);
            READ(read_message(walk.at, end, &row->message));
        } else if (KEY_IS(walk, "timestamp")) {
            ONCE(2);
            READ(read_text(walk.at, end, &row->time));
        } else if (KEY_IS(walk, "requestId")) {
            ONCE(3);
            READ(read_text(walk.at, end, &row->request));
        } else if (KEY_IS(walk, "isSidechain")) {
            ONCE(4);
            const byte *first = walk.at;
            READ(after_value(walk.at, end));
            if (*first != 't' && *first != 'f' && *first != 'n') return NULL;
            row->is_sidechain = *first == 't';
        } else if (KEY_IS(walk, "agentId")) {
            ONCE(5);
            READ(read_text(walk.at, end, &row->agent));
        } else if (KEY_IS(walk, "cwd")) {
            ONCE(6);
            READ(read_text(walk.at, end, &row->cwd));
        } else if (KEY_IS(walk, "gitBranch")) {
            ONCE(7);
            READ(read_text(walk.at, end, &row->branch));
        } else if (KEY_IS(walk, "version")) {
            ONCE(8);
            READ(read_text(walk.at, end, &row->version));
        } else if (KEY_IS(walk, "data")) {
            ONCE(9);
            READ(read_progress(walk.at, end, row));
        } else if (KEY_IS(walk, "costUSD") || KEY_IS(walk, "inputTokens") || KEY_IS(walk, "outputTokens")) {
            READ(after_null(walk.at, end)); /* shapes of 2024 */
        } else {
            READ(after_value(walk.at, end));
        }
    }
    return walk.is_bad ? NULL : walk.at;
}

/* Whether all texts that the Python decoder would look at are plain: only then is a row without usage passed over. */
static bool is_all_plain(const Row *row) {
    return row->session.is_plain && row->agent.is_plain && row->cwd.is_plain && row->branch.is_plain &&
           row->version.is_plain && row->request.is_plain && row->message.id.is_plain &&
           row->message.model.is_plain && row->nested_agent.is_plain && row->nested_request.is_plain &&
           row->nested.id.is_plain && row->nested.model.is_plain;
}

static bool is_id(const Text *text) { return text->at && text->is_plain && text->size && text->size <= LONGEST_ID; }

static bool same_text(const Text *one, const Text *other) {
    if (!one->at || !other->at) return !one->at && !other->at;
    return one->size == other->size && !memcmp(one->at, other->at, one->size);
}

static bool same_raw(const Raw *one, const Raw *other) {
    if (one->flags != other->flags) return false;
    for (int place = 0; place < TEXTS; place++)
        if (!same_text(&one->texts[place], &other->texts[place])) return false;
    return true;
}

/* A context's bytes as one key: sizes first, so that no two contexts have the same. */
static PyObject *raw_key(const Raw *raw) {
    Py_ssize_t size = 1;
    for (int place = 0; place < TEXTS; place++) size += 8 + (Py_ssize_t)raw->texts[place].size;
    PyObject *key = PyBytes_FromStringAndSize(NULL, size);
    if (!key) return NULL;
    char *at = PyBytes_AS_STRING(key);
    *at++ = (char)raw->flags;
    for (int place = 0; place < TEXTS; place++) {
        const Text *text = &raw->texts[place];
        uint64_t said = text->at ? text->size : UINT64_MAX;
        memcpy(at, &said, 8);
        if (text->size) memcpy(at + 8, text->at, text->size);
        at += 8 + text->size;
    }
    return key;
}

/* Number of a context, asked of the Python packer where it is new; -1: not one that it vouches for; -2: an error. */
static long place_of(const Block *block, PyObject *known, const Raw *raw) {
    PyObject *key = raw_key(raw);
    if (!key) return -2;
    PyObject *found = PyDict_GetItemWithError(known, key);
    if (found) {
        Py_DECREF(key);
        return PyLong_AsLong(found);
    }
    if (PyErr_Occurred()) {
        Py_DECREF(key);
        return -2;
    }
    PyObject *texts = PyTuple_New(TEXTS);
    for (int place = 0; texts && place < TEXTS; place++) {
        const Text *text = &raw->texts[place];
        PyObject *one = Py_None; /* with its quotes: escapes are for Python to decode */
        if (text->at) one = PyBytes_FromStringAndSize((const char *)text->at - 1, (Py_ssize_t)text->size + 2);
        else Py_INCREF(one);
        if (!one) Py_CLEAR(texts);
        else PyTuple_SET_ITEM(texts, place, one);
    }
    long place = -2;
    if (texts) {
        found = PyObject_CallMethod(block->packer, "place_of", "(Oiii)", texts, !!(raw->flags & IS_SIDECHAIN),
                                    !!(raw->flags & IS_PROGRESS), !!(raw->flags & HAS_NO_ITERATIONS));
        Py_DECREF(texts);
        if (found) {
            place = PyLong_AsLong(found);
            if (place >= 0 && PyDict_SetItem(known, key, found) < 0) place = -2;
            if (PyErr_Occurred()) place = -2;
            Py_DECREF(found);
        }
    }
    Py_DECREF(key);
    return place;
}

/* In the order of the Python packer: short where a row tells little. */
static Counters values_of(const Usage *usage) {
    Counters values = {.size = usage->has_tools ? 8 : usage->has_split ? 6 : 4};
    const int64_t counts[] = {usage->fresh, usage->write, usage->read, usage->output,
                              usage->has_split ? usage->five : NO_COUNT, usage->has_split ? usage->hour : NO_COUNT,
                              usage->searches, usage->fetches};
    memcpy(values.counts, counts, sizeof counts);
    return values;
}

/* What only this packer has, and the row before. */
typedef struct {
    Block block;
    PyObject *numbers, *raw_contexts; /* dictionaries */
    Column *outputs;
    bool has_last_raw, has_last_name;
    Raw last_raw;
    long last_place;
    Text last_name, last_request;
    Py_ssize_t last_event;
} Claude;

/* Whether a row of the same output as the standing winner comes before it. */
static bool comes_before(const Block *block, Py_ssize_t winner, int64_t total, int64_t us, const byte *digest) {
    const Counters *values = &counters_of(block->values)[winner];
    int64_t standing = 0;
    for (int place = 0; place < 4; place++) standing += values->counts[place] > 0 ? values->counts[place] : 0;
    if (total != standing) return total > standing;
    int64_t then = numbers_of(block->times)[winner];
    if (us != then) return us < then;
    return memcmp(digest, digest_at(block->hashes, winner), DIGEST_SIZE) < 0;
}

/* Number of the event of an id, -1 where it is new, -2 on an error, -3 where its request is another. */
static Py_ssize_t event_of(const Claude *claude, const Text *request, PyObject *id) {
    PyObject *number = PyDict_GetItemWithError(claude->numbers, id);
    if (!number) return PyErr_Occurred() ? -2 : -1;
    Py_ssize_t event = PyLong_AsSsize_t(number);
    const Block *block = &claude->block;
    PyObject *identity = event < 0 ? NULL : PyList_GetItem(block->identities, event);
    PyObject *told = identity ? PyTuple_GetItem(identity, 1) : NULL;
    if (told && (event >= block->winners->count || event >= block->firsts->count || event >= claude->outputs->count ||
                 numbers_of(block->winners)[event] < 0 ||
                 numbers_of(block->winners)[event] >= block->offsets->count))
        PyErr_SetString(PyExc_IndexError, "an event has a winner");
    if (!told || PyErr_Occurred()) return -2;
    if (told == Py_None || !request->at) return told == Py_None && !request->at ? event : -3;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(told, &size);
    if (!text) return -2;
    return (size_t)size == request->size && !memcmp(text, request->at, request->size) ? event : -3;
}

/* Takes the place of an event's winner, or lends it an earlier time. */
static void compete(const Claude *claude, Py_ssize_t event, int64_t output, int64_t total, int64_t us,
                    const byte *digest) {
    const Block *block = &claude->block;
    int64_t *standing = &numbers_of(claude->outputs)[event], *winner = &numbers_of(block->winners)[event];
    int64_t *first = &numbers_of(block->firsts)[event];
    if (output > *standing || (output == *standing && comes_before(block, *winner, total, us, digest))) {
        *winner = block->offsets->count;
        *standing = output;
    }
    if (us < *first) *first = us;
}

static Py_ssize_t begin_request(const Claude *claude, const Text *request, int64_t output, PyObject *id, int64_t us) {
    PyObject *asked = new_text(request);
    PyObject *identity = asked ? PyTuple_Pack(2, id, asked) : NULL;
    Py_ssize_t event = identity ? begin_event(&claude->block, claude->numbers, id, identity, us) : -1;
    Py_XDECREF(asked);
    Py_XDECREF(identity);
    return event >= 0 && push_number(claude->outputs, output) ? event : -1;
}

enum Outcome { TAKEN, LEFT, FAILED };

/* Takes a row as columns; leaves it where anything about it is unusual. */
static enum Outcome take_row(Claude *claude, const byte *at, const byte *stop) {
    Row row;
    memset(&row, 0, sizeof row);
    /* texts that are not there are plain */
    row.session.is_plain = row.agent.is_plain = row.cwd.is_plain = row.branch.is_plain = row.version.is_plain = true;
    row.request.is_plain = row.message.id.is_plain = row.message.model.is_plain = true;
    row.nested_agent.is_plain = row.nested_request.is_plain = row.nested.id.is_plain = true;
    row.nested.model.is_plain = true;
    if (read_row(at, stop, &row) != stop) return LEFT;
    Moment moment = {0}, nested_moment = {0};
    if (row.time.at && !read_moment(&row.time, &moment)) return LEFT;
    if (row.nested_time.at && !read_moment(&row.nested_time, &nested_moment)) return LEFT;

    const Message *message = &row.message;
    bool is_progress = false;
    if (!message->usage.is_there) {
        if (!row.nested.usage.is_there) return is_all_plain(&row) ? TAKEN : LEFT;
        is_progress = true;
        message = &row.nested;
    } else if (row.has_nested && (row.nested.usage.is_there || !is_all_plain(&row))) {
        return LEFT; /* a second message beside the first */
    }
    const Usage *usage = &message->usage;
    const Text *request = is_progress ? &row.nested_request : &row.request;
    const Text *time = is_progress ? &row.nested_time : &row.time;
    if (is_progress) {
        moment = nested_moment;
        if (!row.request.is_plain || !row.message.id.is_plain || !row.message.model.is_plain) return LEFT;
    }
    if (usage->fresh < 0 || usage->write < 0 || usage->read < 0 || usage->output < 0) return LEFT;
    int64_t total = usage->fresh + usage->write + usage->read + usage->output;
    if (total == 0 || !time->at || !is_believed(&claude->block, &moment)) return LEFT;
    if (usage->has_split) {
        int64_t five = usage->five < 0 ? 0 : usage->five, hour = usage->hour < 0 ? 0 : usage->hour;
        if ((five || hour) && five + hour != usage->write) return LEFT;
    }
    if (!is_id(&message->id) || (request->at && !is_id(request))) return LEFT;

    bool has_agent = row.agent.at && row.agent.size;
    Raw raw = {
        .texts = {row.session, is_progress && !has_agent ? row.nested_agent : row.agent, row.cwd, row.branch,
                  row.version, message->model, usage->tier, usage->geo, usage->speed},
        .flags = (byte)((row.is_sidechain || is_progress ? IS_SIDECHAIN : 0) | (is_progress ? IS_PROGRESS : 0) |
                        (usage->has_no_iterations ? HAS_NO_ITERATIONS : 0)),
    };
    if (is_progress && has_agent && !row.nested_agent.is_plain) return LEFT;
    if (is_progress && !has_agent && !row.agent.is_plain) return LEFT;
    if (!is_progress && !row.nested_agent.is_plain) return LEFT;
    if (!claude->has_last_raw || !same_raw(&raw, &claude->last_raw)) {
        long place = place_of(&claude->block, claude->raw_contexts, &raw);
        if (place == -1) return LEFT;
        if (place < 0) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a context has a number");
            return FAILED;
        }
        claude->has_last_raw = true;
        claude->last_raw = raw;
        claude->last_place = place;
    }

    const Block *block = &claude->block;
    Py_ssize_t event = claude->last_event;
    PyObject *id = NULL;
    if (!claude->has_last_name || !same_text(&message->id, &claude->last_name) ||
        !same_text(request, &claude->last_request)) {
        if (!(id = new_text(&message->id))) return FAILED;
        event = event_of(claude, request, id);
        if (event < -1) {
            Py_DECREF(id);
            return event == -3 ? LEFT : FAILED;
        }
    }
    byte digest[DIGEST_SIZE];
    bool done = digest_line(at, stop, digest);
    if (done && event == -1) done = (event = begin_request(claude, request, usage->output, id, moment.us)) >= 0;
    else if (done) compete(claude, event, usage->output, total, moment.us, digest);
    Py_XDECREF(id);
    if (!done) return FAILED;
    claude->has_last_name = true;
    claude->last_name = message->id;
    claude->last_request = *request;
    claude->last_event = event;
    Counters values = values_of(usage);
    return append_row(block, at, stop, digest, moment.us, claude->last_place, event, &values) ? TAKEN : FAILED;
}

/* A user's row: the first brace after its own opens its message, and no usage stands at its end. */
static bool is_users(const byte *at, const byte *end) {
    const byte *stop = at + HEAD < end ? at + HEAD : end;
    if (at + 1 >= stop) return false;
    const byte *brace = memchr(at + 1, '{', (size_t)(stop - at - 1));
    if (!brace || brace - at < BEFORE_BRACE || end - brace < USER_SIZE - BEFORE_BRACE) return false;
    if (memcmp(brace - BEFORE_BRACE, USER, USER_SIZE)) return false;
    return !holds(end - at > TAIL ? end - TAIL : at, end, "\"usage\"", 7);
}

static bool take_lines(Claude *claude, const byte **at) {
    const byte *end;
    while (*at < claude->block.end && (end = memchr(*at, '\n', (size_t)(claude->block.end - *at)))) {
        if (end > *at && !is_users(*at, end)) {
            const byte *stop = end[-1] == '\r' ? end - 1 : end;
            enum Outcome outcome = TAKEN;
            if (measured_stage == ALL_STAGES) {
                outcome = take_row(claude, *at, stop);
            } else if (measured_stage == DECODE_STAGE) {
                Row row = {0};
                read_row(*at, stop, &row);
            }
            if (outcome == FAILED || (outcome == LEFT && !give_line(&claude->block, *at, stop, false))) return false;
        }
        *at = end + 1;
    }
    return true;
}

PyObject *take_claude(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "take_claude(packer, data, filled, base)");
        return NULL;
    }
    Claude claude = {.last_place = -1};
    Py_buffer view;
    Py_ssize_t filled = PyLong_AsSsize_t(given[2]);
    long long base = PyLong_AsLongLong(given[3]);
    if (PyErr_Occurred()) return NULL;
    if (!open_block(&claude.block, given[0], given[1], &view, filled, base)) return NULL;
    const byte *at = claude.block.first;
    bool done = (claude.numbers = PyObject_GetAttrString(given[0], "_numbers")) &&
                (claude.outputs = get_column(given[0], "_outputs", NUMBERS)) &&
                (claude.raw_contexts = PyObject_GetAttrString(given[0], "_raw_contexts")) && take_lines(&claude, &at);
    Py_ssize_t used = at - claude.block.first;
    Py_XDECREF(claude.numbers);
    Py_XDECREF(claude.outputs);
    Py_XDECREF(claude.raw_contexts);
    close_block(&claude.block, &view);
    return done ? PyLong_FromSsize_t(used) : NULL;
}

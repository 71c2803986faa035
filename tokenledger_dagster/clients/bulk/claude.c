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

/* Two counters of which there may be none. */
typedef struct {
    int64_t first, second;
    bool is_there;
} Pair;

typedef struct {
    Text tier, geo, speed;
    int64_t fresh, write, read, output;
    Pair split; /* by how long a write is kept: five minutes, an hour */
    Pair tools; /* searches, fetches */
    bool is_there, has_no_iterations;
} Usage;

typedef struct {
    Text id, model;
    Usage usage;
} Message;

/* A message and whose it is, as a row has it, or the message within a progress row. */
typedef struct {
    Text request, time;
    Message message;
} Answer;

typedef struct {
    Text agent;
    Answer answer;
    bool is_there;
} Progress;

typedef struct {
    Text session, agent, cwd, branch, version;
    Answer answer;
    bool is_sidechain;
    Progress progress;
} Row;

/* What makes the context of a row, as it stands in the line. */
enum { TEXTS = 9 };
typedef struct {
    Text texts[TEXTS];
    byte flags;
} Raw;
enum { IS_SIDECHAIN = 1, IS_PROGRESS = 2, HAS_NO_ITERATIONS = 4 };

static const byte *read_pair(const byte *at, const byte *end, const Member *members, Pair *pair) {
    *pair = (Pair){.first = NO_COUNT, .second = NO_COUNT, .is_there = !is_null(at, end)};
    return pair->is_there ? read_object(at, end, members, 2, pair, OTHERS_REFUSED) : after_null(at, end);
}

static const byte *read_split(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("ephemeral_5m_input_tokens", Pair, first, read_count),
        MEMBER("ephemeral_1h_input_tokens", Pair, second, read_count),
    };
    return read_pair(at, end, members, to);
}

static const byte *read_tools(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("web_search_requests", Pair, first, read_count),
        MEMBER("web_fetch_requests", Pair, second, read_count),
    };
    return read_pair(at, end, members, to);
}

/* None, or a list without any; others are more than a number says. */
static const byte *read_no_iterations(const byte *at, const byte *end, void *to) {
    if (is_null(at, end)) return after_null(at, end);
    *(bool *)to = true;
    return after_word(at, end, "[]", 2);
}

static const byte *read_usage(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("input_tokens", Usage, fresh, read_count),
        MEMBER("cache_creation_input_tokens", Usage, write, read_count),
        MEMBER("cache_read_input_tokens", Usage, read, read_count),
        MEMBER("output_tokens", Usage, output, read_count),
        MEMBER("cache_creation", Usage, split, read_split),
        MEMBER("service_tier", Usage, tier, read_text),
        MEMBER("inference_geo", Usage, geo, read_text),
        MEMBER("speed", Usage, speed, read_text),
        MEMBER("server_tool_use", Usage, tools, read_tools),
        MEMBER("iterations", Usage, has_no_iterations, read_no_iterations),
    };
    Usage *usage = to;
    usage->fresh = usage->write = usage->read = usage->output = NO_COUNT;
    usage->is_there = true; /* null, too, is for others to count */
    return READ_OBJECT(at, end, members, usage, OTHERS_REFUSED);
}

static const byte *read_message(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("model", Message, model, read_text),
        MEMBER("id", Message, id, read_text),
        MEMBER("usage", Message, usage, read_usage),
    };
    return is_null(at, end) ? after_null(at, end) : READ_OBJECT(at, end, members, to, OTHERS_PASSED);
}

static const byte *read_answer(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("timestamp", Answer, time, read_text),
        MEMBER("message", Answer, message, read_message),
        MEMBER("requestId", Answer, request, read_text),
    };
    return is_null(at, end) ? after_null(at, end) : READ_OBJECT(at, end, members, to, OTHERS_PASSED);
}

static const byte *read_progress(const byte *at, const byte *end, void *to) {
    static const Member members[] = {
        MEMBER("message", Progress, answer, read_answer),
        MEMBER("agentId", Progress, agent, read_text),
    };
    Progress *progress = to;
    progress->is_there = !is_null(at, end);
    return progress->is_there ? READ_OBJECT(at, end, members, progress, OTHERS_PASSED) : after_null(at, end);
}

static const byte *read_is_true(const byte *at, const byte *end, void *to) {
    *(bool *)to = at < end && *at == 't';
    if (is_null(at, end)) return after_null(at, end);
    return *(bool *)to ? after_word(at, end, "true", 4) : after_word(at, end, "false", 5);
}

static const byte *read_row(const byte *at, const byte *end, Row *row) {
    static const Member members[] = {
        MEMBER("isSidechain", Row, is_sidechain, read_is_true),
        MEMBER("cwd", Row, cwd, read_text),
        MEMBER("sessionId", Row, session, read_text),
        MEMBER("version", Row, version, read_text),
        MEMBER("gitBranch", Row, branch, read_text),
        MEMBER("message", Row, answer.message, read_message),
        MEMBER("requestId", Row, answer.request, read_text),
        MEMBER("timestamp", Row, answer.time, read_text),
        MEMBER("agentId", Row, agent, read_text),
        MEMBER("data", Row, progress, read_progress),
        /* shapes of 2024 */
        NULL_MEMBER("costUSD"),
        NULL_MEMBER("inputTokens"),
        NULL_MEMBER("outputTokens"),
    };
    return READ_OBJECT(at, end, members, row, OTHERS_PASSED);
}

/* Whether a text that the Python decoder would look at is odd: then not even a row without usage is passed over. */
static bool is_odd_answer(const Answer *answer) {
    return answer->request.is_odd || answer->message.id.is_odd || answer->message.model.is_odd;
}

static bool is_odd(const Row *row) {
    return row->session.is_odd || row->agent.is_odd || row->cwd.is_odd || row->branch.is_odd || row->version.is_odd ||
           row->progress.agent.is_odd || is_odd_answer(&row->answer) || is_odd_answer(&row->progress.answer);
}

static bool is_id(const Text *text) { return text->at && !text->is_odd && text->size && text->size <= LONGEST_ID; }

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
    const Pair none = {.first = NO_COUNT, .second = NO_COUNT}, split = usage->split.is_there ? usage->split : none;
    return (Counters){
        .size = usage->tools.is_there ? 8 : usage->split.is_there ? 6 : 4,
        .counts = {usage->fresh, usage->write, usage->read, usage->output, split.first, split.second,
                   usage->tools.first, usage->tools.second},
    };
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
static bool comes_before(Block *block, Py_ssize_t winner, int64_t total, int64_t us, const byte *at,
                         const byte *stop) {
    const Counters *values = &counters_of(block->values)[winner];
    int64_t standing = 0;
    for (int place = 0; place < 4; place++) standing += values->counts[place] > 0 ? values->counts[place] : 0;
    if (total != standing) return total > standing;
    int64_t then = numbers_of(block->times)[winner];
    if (us != then) return us < then;
    byte digest[DIGEST_SIZE];
    return digest_line(at, stop, digest) && memcmp(digest, digest_of_row(block, winner), DIGEST_SIZE) < 0;
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
static bool compete(Claude *claude, Py_ssize_t event, int64_t output, int64_t total, int64_t us, const byte *at,
                    const byte *stop) {
    Block *block = &claude->block;
    int64_t *standing = &numbers_of(claude->outputs)[event], *winner = &numbers_of(block->winners)[event];
    int64_t *first = &numbers_of(block->firsts)[event];
    if (output > *standing || (output == *standing && comes_before(block, *winner, total, us, at, stop))) {
        *winner = block->offsets->count;
        *standing = output;
    }
    if (us < *first) *first = us;
    return !PyErr_Occurred();
}

static Py_ssize_t begin_request(const Claude *claude, const Text *request, int64_t output, PyObject *id, int64_t us) {
    PyObject *asked = new_text(request);
    PyObject *identity = asked ? PyTuple_Pack(2, id, asked) : NULL;
    Py_ssize_t event = identity ? begin_event(&claude->block, claude->numbers, id, identity, us) : -1;
    Py_XDECREF(asked);
    Py_XDECREF(identity);
    return event >= 0 && push_number(claude->outputs, output) ? event : -1;
}

/* Takes a row as columns; leaves it where anything about it is unusual. */
static enum Outcome take_row(Claude *claude, const byte *at, const byte *stop) {
    Row row = {0};
    if (read_row(at, stop, &row) != stop) return LEFT;
    const Progress *progress = &row.progress;
    Moment moment = {0}, progress_moment = {0};
    if (row.answer.time.at && !read_moment(&row.answer.time, &moment)) return LEFT;
    if (progress->answer.time.at && !read_moment(&progress->answer.time, &progress_moment)) return LEFT;

    const Answer *answer = &row.answer;
    bool is_progress = false;
    if (!answer->message.usage.is_there) {
        if (!progress->answer.message.usage.is_there) return is_odd(&row) ? LEFT : TAKEN;
        if (is_odd_answer(answer)) return LEFT;
        is_progress = true;
        answer = &progress->answer;
        moment = progress_moment;
    } else if (progress->is_there && (progress->answer.message.usage.is_there || is_odd(&row))) {
        return LEFT; /* a second message beside the first */
    }
    const Usage *usage = &answer->message.usage;
    const Text *name = &answer->message.id, *request = &answer->request;
    if (usage->fresh < 0 || usage->write < 0 || usage->read < 0 || usage->output < 0) return LEFT;
    int64_t total = usage->fresh + usage->write + usage->read + usage->output;
    if (total == 0 || !answer->time.at || !is_believed(&claude->block, &moment)) return LEFT;
    if (usage->split.is_there) {
        int64_t five = usage->split.first < 0 ? 0 : usage->split.first;
        int64_t hour = usage->split.second < 0 ? 0 : usage->split.second;
        if ((five || hour) && five + hour != usage->write) return LEFT;
    }
    if (!is_id(name) || (request->at && !is_id(request))) return LEFT;

    bool is_inner = is_progress && !row.agent.size; /* a row's own agent comes first */
    const Text *agent = is_inner ? &progress->agent : &row.agent, *unused = is_inner ? &row.agent : &progress->agent;
    if (unused->is_odd) return LEFT;
    Raw raw = {
        .texts = {row.session, *agent, row.cwd, row.branch, row.version, answer->message.model, usage->tier,
                  usage->geo, usage->speed},
        .flags = (byte)((row.is_sidechain || is_progress ? IS_SIDECHAIN : 0) | (is_progress ? IS_PROGRESS : 0) |
                        (usage->has_no_iterations ? HAS_NO_ITERATIONS : 0)),
    };
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

    Py_ssize_t event = claude->last_event;
    PyObject *id = NULL;
    if (!claude->has_last_name || !same_text(name, &claude->last_name) ||
        !same_text(request, &claude->last_request)) {
        if (!(id = new_text(name))) return FAILED;
        event = event_of(claude, request, id);
        if (event < -1) {
            Py_DECREF(id);
            return event == -3 ? LEFT : FAILED;
        }
    }
    bool done = event == -1 ? (event = begin_request(claude, request, usage->output, id, moment.us)) >= 0
                            : compete(claude, event, usage->output, total, moment.us, at, stop);
    Py_XDECREF(id);
    if (!done) return FAILED;
    claude->has_last_name = true;
    claude->last_name = *name;
    claude->last_request = *request;
    claude->last_event = event;
    Counters values = values_of(usage);
    return append_row(&claude->block, at, stop, moment.us, claude->last_place, event, &values) ? TAKEN : FAILED;
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
    Claude claude = {.last_place = -1};
    if (!open_block(&claude.block, given, count)) return NULL;
    const byte *at = claude.block.first;
    bool done = (claude.numbers = PyObject_GetAttrString(given[0], "_numbers")) &&
                (claude.outputs = get_column(given[0], "_outputs", NUMBERS)) &&
                (claude.raw_contexts = PyObject_GetAttrString(given[0], "_raw_contexts")) && take_lines(&claude, &at);
    Py_ssize_t used = at - claude.block.first;
    Py_XDECREF(claude.numbers);
    Py_XDECREF(claude.outputs);
    Py_XDECREF(claude.raw_contexts);
    close_block(&claude.block);
    return done ? PyLong_FromSsize_t(used) : NULL;
}

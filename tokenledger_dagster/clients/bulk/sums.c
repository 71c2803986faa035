/* What booking needs of a pack, from its columns: keys, checks, first times, sums by quarter hour (``clients.pack``).
 *
 * Here: the loops over events.  Not here: what a state means, or which contexts are priced alike: ``clients.bulk_pack``
 * asks the pack's format.
 */
#include "bulk.h"

enum { COUNTERS = 9 };
enum { BOOKED, WEAK, CONTACT };
enum Client { CLAUDE = 0, CODEX = 1 };

/* ---------------------------------------------------------------- check sums, as zlib has them (RFC 1950, RFC 1952) */

static uint32_t crc_tables[8][256];

void prepare_sums(void) {
    for (uint32_t one = 0; one < 256; one++) {
        uint32_t crc = one;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        crc_tables[0][one] = crc;
    }
    for (int table = 1; table < 8; table++)
        for (int one = 0; one < 256; one++) {
            uint32_t before = crc_tables[table - 1][one];
            crc_tables[table][one] = before >> 8 ^ crc_tables[0][before & 255];
        }
}

static uint32_t crc32_of(const byte *at, size_t size, uint32_t start) {
    uint32_t crc = ~start;
    for (; size >= 8; size -= 8, at += 8) {
        crc ^= (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = crc_tables[7][crc & 255] ^ crc_tables[6][crc >> 8 & 255] ^ crc_tables[5][crc >> 16 & 255] ^
              crc_tables[4][crc >> 24] ^ crc_tables[3][at[4]] ^ crc_tables[2][at[5]] ^ crc_tables[1][at[6]] ^
              crc_tables[0][at[7]];
    }
    for (; size; size--, at++) crc = crc >> 8 ^ crc_tables[0][(crc ^ *at) & 255];
    return ~crc;
}

static uint32_t adler32_of(const byte *at, size_t size) {
    uint32_t low = 1, high = 0;
    while (size) {
        size_t some = size < 5552 ? size : 5552; /* so many fit before a sum could overflow */
        size -= some;
        for (; some; some--) high += low += *at++;
        low %= 65521;
        high %= 65521;
    }
    return high << 16 | low;
}

/* ---------------------------------------------------------------- keys, checks, first times */

static bool text_of(PyObject *text, const byte **at, size_t *size) {
    Py_ssize_t found = 0;
    const char *first = "";
    if (text != Py_None) {
        if (!PyUnicode_Check(text)) PyErr_SetString(PyExc_TypeError, "an id is text");
        first = PyErr_Occurred() ? NULL : PyUnicode_AsUTF8AndSize(text, &found);
    }
    *at = (const byte *)first;
    *size = (size_t)found;
    return first != NULL;
}

static bool both_ids(PyObject *identity, PyObject **name, PyObject **request) {
    if (!PyTuple_Check(identity) || PyTuple_GET_SIZE(identity) != 2) {
        PyErr_SetString(PyExc_TypeError, "an identity is two ids");
        return false;
    }
    *name = PyTuple_GET_ITEM(identity, 0);
    *request = PyTuple_GET_ITEM(identity, 1);
    return true;
}

/* claude_keys(identities, sessions, context_of, winners)
 *
 * Keys by message id, and checks of what else tells requests apart: the session of the winner's context (`sessions` has
 * a sum for each), the request's id, and the message's id once more by another sum.
 */
PyObject *claude_keys(PyObject *Py_UNUSED(module), PyObject *given) {
    PyObject *identities, *sessions, *contexts, *wins;
    if (!PyArg_ParseTuple(given, "O!O!OO", &PyList_Type, &identities, &PyList_Type, &sessions, &contexts, &wins))
        return NULL;
    const Column *context_of = as_column(contexts, NUMBERS, "context_of");
    const Column *winners = context_of ? as_column(wins, NUMBERS, "winners") : NULL;
    if (!winners) return NULL;
    Py_ssize_t events = PyList_GET_SIZE(identities);
    if (events != winners->count) {
        PyErr_SetString(PyExc_ValueError, "every event has a winner");
        return NULL;
    }
    PyObject *keys = PyBytes_FromStringAndSize(NULL, 4 * events), *checks = PyBytes_FromStringAndSize(NULL, 4 * events);
    bool done = keys && checks;
    for (Py_ssize_t event = 0; done && event < events; event++) {
        PyObject *name, *request;
        const byte *at;
        size_t size;
        int64_t row = numbers_of(winners)[event];
        int64_t context = row >= 0 && row < context_of->count ? numbers_of(context_of)[row] : -1;
        done = context >= 0 && context < PyList_GET_SIZE(sessions);
        if (!done) PyErr_SetString(PyExc_IndexError, "a winner has a context");
        done = done && both_ids(PyList_GET_ITEM(identities, event), &name, &request) && text_of(name, &at, &size);
        if (!done) break;
        uint32_t key = crc32_of(at, size, 0), sum = adler32_of(at, size);
        uint32_t seed = (uint32_t)PyLong_AsUnsignedLongMask(PyList_GET_ITEM(sessions, context));
        done = text_of(request, &at, &size);
        uint32_t check = done ? crc32_of(at, size, seed ^ sum) : 0;
        memcpy(PyBytes_AS_STRING(keys) + 4 * event, &key, 4);
        memcpy(PyBytes_AS_STRING(checks) + 4 * event, &check, 4);
    }
    PyObject *both = done && !PyErr_Occurred() ? PyTuple_Pack(2, keys, checks) : NULL;
    Py_XDECREF(keys);
    Py_XDECREF(checks);
    return both;
}

/* codex_keys(totals): keys by cumulative total. */
PyObject *codex_keys(PyObject *Py_UNUSED(module), PyObject *totals) {
    if (!PyList_Check(totals)) {
        PyErr_SetString(PyExc_TypeError, "codex_keys(totals)");
        return NULL;
    }
    Py_ssize_t events = PyList_GET_SIZE(totals);
    PyObject *keys = PyBytes_FromStringAndSize(NULL, 4 * events);
    for (Py_ssize_t event = 0; keys && event < events; event++) {
        PyObject *total = PyList_GET_ITEM(totals, event);
        int64_t counts[5];
        bool fits = PyTuple_Check(total) && PyTuple_GET_SIZE(total) == 5;
        for (int place = 0; fits && place < 5; place++) {
            fits = PyLong_CheckExact(PyTuple_GET_ITEM(total, place));
            counts[place] = fits ? PyLong_AsLongLong(PyTuple_GET_ITEM(total, place)) : 0;
        }
        if (!fits) PyErr_SetString(PyExc_TypeError, "a total has five counters");
        if (PyErr_Occurred()) {
            Py_CLEAR(keys);
            break;
        }
        uint32_t key = crc32_of((const byte *)counts, sizeof counts, 0);
        memcpy(PyBytes_AS_STRING(keys) + 4 * event, &key, 4);
    }
    return keys;
}

/* earliest(times, context_of, contexts): the earliest time of each context's rows, in microseconds. */
PyObject *earliest(PyObject *Py_UNUSED(module), PyObject *given) {
    PyObject *moments, *contexts;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(given, "OOn", &moments, &contexts, &count)) return NULL;
    const Column *times = as_column(moments, TIMES, "times");
    const Column *context_of = times ? as_column(contexts, NUMBERS, "context_of") : NULL;
    if (!context_of) return NULL;
    int64_t *first = count > 0 ? PyMem_Malloc((size_t)count * sizeof *first) : NULL;
    PyObject *found = first && times->count == context_of->count ? PyList_New(count) : NULL;
    for (Py_ssize_t context = 0; found && context < count; context++) first[context] = INT64_MAX;
    for (Py_ssize_t row = 0; found && row < times->count; row++) {
        int64_t context = numbers_of(context_of)[row], us = numbers_of(times)[row];
        if (context < 0 || context >= count) Py_CLEAR(found);
        else if (us < first[context]) first[context] = us;
    }
    for (Py_ssize_t context = 0; found && context < count; context++) {
        PyObject *one = Py_None; /* a context of which every row was left */
        if (first[context] != INT64_MAX) one = PyLong_FromLongLong(first[context]);
        else Py_INCREF(one);
        if (!one) Py_CLEAR(found);
        else PyList_SET_ITEM(found, context, one);
    }
    PyMem_Free(first);
    if (!found && !PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "every row has a time and a context");
    return found;
}

/* ---------------------------------------------------------------- sums */

typedef struct {
    int64_t slot;
    long kind;
    PyObject *prefix; /* borrowed from a key of `numbers` */
    int step;
    int64_t count, counters[COUNTERS];
} Cell;

typedef struct {
    Cell *cells;
    Py_ssize_t count, room;
    PyObject *numbers; /* by (slot, kind, prefix, step) */
} Cells;

static int64_t known(const Counters *values, int place) {
    return place < values->size && values->counts[place] != NO_COUNT ? values->counts[place] : 0;
}

/* In the order of ``contracts.record.Counters``; returns the prompt's size. */
static int64_t read_counters(enum Client client, const Counters *values, int64_t counters[COUNTERS]) {
    memset(counters, 0, COUNTERS * sizeof *counters);
    int64_t first = known(values, 0), second = known(values, 1), third = known(values, 2), output = known(values, 3);
    counters[1] = output;
    if (client == CLAUDE) {
        counters[0] = first;
        counters[2] = second;
        counters[3] = third;
        counters[6] = known(values, 5);
        counters[8] = known(values, 6);
        return first + second + third;
    }
    counters[0] = first - second - third;
    counters[2] = third;
    counters[3] = second;
    counters[7] = known(values, 4);
    return first;
}

/* The row of a cell's fields, as ``clients.pack.Cell`` takes them. */
static PyObject *row_of(const Cell *cell) {
    PyObject *counters = PyList_New(COUNTERS);
    for (int place = 0; counters && place < COUNTERS; place++) {
        PyObject *one = PyLong_FromLongLong(cell->counters[place]);
        if (!one) Py_CLEAR(counters);
        else PyList_SET_ITEM(counters, place, one);
    }
    if (!counters) return NULL;
    return Py_BuildValue("LlOiLN", (long long)cell->slot, cell->kind, cell->prefix, cell->step, (long long)cell->count,
                         counters);
}

static Cell *cell_for(Cells *cells, int64_t slot, long kind, PyObject *prefix, int step) {
    if (cells->count) { /* requests follow one another */
        Cell *last = &cells->cells[cells->count - 1];
        if (last->slot == slot && last->kind == kind && last->step == step && last->prefix == prefix) return last;
    }
    PyObject *key = Py_BuildValue("LlOi", (long long)slot, kind, prefix, step);
    PyObject *number = key ? PyDict_GetItemWithError(cells->numbers, key) : NULL;
    Cell *found = NULL;
    if (number) {
        found = &cells->cells[PyLong_AsSsize_t(number)];
    } else if (key && !PyErr_Occurred()) {
        if (cells->count == cells->room) {
            Py_ssize_t room = cells->room ? 2 * cells->room : 64;
            Cell *more = PyMem_Realloc(cells->cells, (size_t)room * sizeof *more);
            if (!more) PyErr_NoMemory();
            else cells->cells = more, cells->room = room;
        }
        number = PyErr_Occurred() ? NULL : PyLong_FromSsize_t(cells->count);
        if (number && PyDict_SetItem(cells->numbers, key, number) == 0) {
            found = &cells->cells[cells->count++];
            /* the key keeps the prefix alive */
            *found = (Cell){.slot = slot, .kind = kind, .prefix = prefix, .step = step};
        }
        Py_XDECREF(number);
    }
    Py_XDECREF(key);
    return found;
}

/* Prefix of an event's id that names a channel; most are told here to have none. */
static PyObject *prefix_of(PyObject *form, enum Client kind, PyObject *identity, PyObject *empty) {
    if (kind == CODEX) {
        Py_INCREF(empty);
        return empty;
    }
    PyObject *name, *request;
    if (!both_ids(identity, &name, &request)) return NULL;
    if (PyUnicode_Check(name) && PyUnicode_IS_COMPACT_ASCII(name) && PyUnicode_GET_LENGTH(name) > 4 &&
        is_digit(((const byte *)PyUnicode_DATA(name))[4])) {
        Py_INCREF(empty);
        return empty;
    }
    PyObject *prefix = PyObject_CallMethod(form, "prefix", "(O)", identity);
    if (prefix && PyUnicode_Check(prefix)) PyUnicode_InternInPlace(&prefix); /* equal ones are one object */
    return prefix;
}

/* sums(form, kind, states, firsts, winners, context_of, kind_of, identities, values, slot_us, steps)
 *
 * Rows of cells of the booked events and, by event, of those that only repetitions show.  An event whose prompt is just
 * a step's size is marked as one for general booking in `states`.
 */
PyObject *sums(PyObject *Py_UNUSED(module), PyObject *given) {
    PyObject *form, *states, *firsts_given, *winners_given, *contexts_given, *kind_of, *identities, *values_given;
    PyObject *steps;
    int kind;
    long long slot_us;
    if (!PyArg_ParseTuple(given, "OiO!OOOO!O!OLO!", &form, &kind, &PyByteArray_Type, &states, &firsts_given,
                          &winners_given, &contexts_given, &PyList_Type, &kind_of, &PyList_Type, &identities,
                          &values_given, &slot_us, &PyTuple_Type, &steps))
        return NULL;
    const Column *firsts = as_column(firsts_given, TIMES, "firsts");
    const Column *winners = firsts ? as_column(winners_given, NUMBERS, "winners") : NULL;
    const Column *context_of = winners ? as_column(contexts_given, NUMBERS, "context_of") : NULL;
    const Column *values = context_of ? as_column(values_given, VALUES, "values") : NULL;
    if (!values) return NULL;
    Py_ssize_t events = winners->count, rows = values->count;
    Cells cells = {.numbers = PyDict_New()};
    PyObject *weak = PyDict_New(), *empty = PyUnicode_FromString(""), *found = NULL;
    bool done = cells.numbers && weak && empty;
    if (done && (firsts->count != events || PyByteArray_GET_SIZE(states) != events || slot_us <= 0 ||
                 PyList_GET_SIZE(identities) != events || context_of->count != rows)) {
        PyErr_SetString(PyExc_ValueError, "columns of one pack are of one length");
        done = false;
    }
    for (Py_ssize_t event = 0; done && event < events; event++) {
        if (PyByteArray_GET_SIZE(states) != events || PyList_GET_SIZE(identities) != events) { /* prefixes ask Python */
            PyErr_SetString(PyExc_RuntimeError, "columns changed while they were summed");
            done = false;
            break;
        }
        byte state = (byte)PyByteArray_AS_STRING(states)[event];
        if (state > WEAK) continue;
        int64_t row = numbers_of(winners)[event];
        int64_t context = row >= 0 && row < rows ? numbers_of(context_of)[row] : -1;
        if (context < 0 || context >= PyList_GET_SIZE(kind_of)) {
            PyErr_SetString(PyExc_IndexError, "a winner has a context");
            done = false;
            break;
        }
        Cell one = {.count = 1};
        int64_t prompt = read_counters((enum Client)kind, &counters_of(values)[row], one.counters);
        bool is_on_step = false;
        while (one.step < PyTuple_GET_SIZE(steps)) { /* as many as are below the prompt */
            int64_t step = PyLong_AsLongLong(PyTuple_GET_ITEM(steps, one.step));
            is_on_step = prompt == step;
            if (prompt <= step) break;
            one.step++;
        }
        if (is_on_step) {
            PyByteArray_AS_STRING(states)[event] = CONTACT;
            continue;
        }
        int64_t us = numbers_of(firsts)[event];
        one.slot = us / slot_us - (us % slot_us < 0);
        one.kind = PyLong_AsLong(PyList_GET_ITEM(kind_of, context));
        one.prefix = prefix_of(form, (enum Client)kind, PyList_GET_ITEM(identities, event), empty);
        done = one.prefix && !PyErr_Occurred();
        if (done && state == WEAK) {
            PyObject *number = PyLong_FromSsize_t(event), *row_found = row_of(&one);
            done = number && row_found && PyDict_SetItem(weak, number, row_found) == 0;
            Py_XDECREF(number);
            Py_XDECREF(row_found);
        } else if (done) {
            Cell *cell = cell_for(&cells, one.slot, one.kind, one.prefix, one.step);
            done = cell != NULL;
            for (int place = 0; done && place < COUNTERS; place++) cell->counters[place] += one.counters[place];
            if (done) cell->count++;
        }
        Py_XDECREF(one.prefix);
    }
    if (done) {
        PyObject *listed = PyList_New(cells.count);
        for (Py_ssize_t place = 0; listed && place < cells.count; place++) {
            PyObject *row = row_of(&cells.cells[place]);
            if (!row) Py_CLEAR(listed);
            else PyList_SET_ITEM(listed, place, row);
        }
        if (listed) found = PyTuple_Pack(2, listed, weak);
        Py_XDECREF(listed);
    }
    PyMem_Free(cells.cells);
    Py_XDECREF(cells.numbers);
    Py_XDECREF(weak);
    Py_XDECREF(empty);
    return found;
}

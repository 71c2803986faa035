/* The extension module ``tokenledger_dagster.clients._bulk``: usage rows taken in bulk, compiled.
 *
 * Here: what both readers need of Python's objects, and the module itself.  Not here: any layout of rows.
 */
#include "bulk.h"
#include "sha256.h"

#if defined(__linux__)
#include <signal.h>
#include <sys/prctl.h>
#endif

/* What this was built of (setup.py): a build of other sources than those beside it is not used. */
#ifndef BULK_SOURCES
#define BULK_SOURCES 0u
#endif

enum Stage measured_stage = ALL_STAGES;
static bool has_sha256;
static PyObject *hashlib_sha256;

bool append_new(PyObject *list, PyObject *value) {
    if (!value) return false;
    int failed = PyList_Append(list, value);
    Py_DECREF(value);
    return failed == 0;
}

Column *get_column(PyObject *packer, const char *name, Kind kind) {
    PyObject *found = PyObject_GetAttrString(packer, name);
    Column *column = found ? as_column(found, kind, name) : NULL;
    if (!column) Py_XDECREF(found);
    return column;
}

bool get_int(PyObject *owner, const char *name, int64_t *found) {
    PyObject *value = PyObject_GetAttrString(owner, name);
    if (!value) return false;
    *found = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return !PyErr_Occurred();
}

bool open_block(Block *block, PyObject *const *given, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "a block is given as packer, data, filled, base");
        return false;
    }
    PyObject *packer = given[0];
    Py_ssize_t filled = PyLong_AsSsize_t(given[2]);
    block->packer = packer;
    block->data = given[1];
    block->base = PyLong_AsLongLong(given[3]);
    if (PyErr_Occurred() || PyObject_GetBuffer(block->data, &block->view, PyBUF_SIMPLE) < 0) return false;
    block->first = block->view.buf;
    block->end = block->first + filled;
    bool done = filled >= 0 && filled <= block->view.len;
    if (!done) PyErr_SetString(PyExc_ValueError, "a block is not longer than its data");
    done = done && (block->offsets = get_column(packer, "_offsets", NUMBERS)) &&
           (block->lengths = get_column(packer, "_lengths", NUMBERS)) &&
           (block->hashes = get_column(packer, "_hashes", DIGESTS)) &&
           (block->times = get_column(packer, "_times", TIMES)) &&
           (block->context_of = get_column(packer, "_context_of", NUMBERS)) &&
           (block->event_of = get_column(packer, "_event_of", NUMBERS)) &&
           (block->winners = get_column(packer, "_winners", NUMBERS)) &&
           (block->values = get_column(packer, "_values", VALUES)) &&
           (block->firsts = get_column(packer, "_firsts", TIMES)) &&
           (block->identities = PyObject_GetAttrString(packer, "_identities")) &&
           get_int(packer, "_latest_us", &block->latest_us);
    if (!done) close_block(block);
    return done;
}

/* Both digests of two lines. */
static bool digest_two(const byte *const at[2], const size_t sizes[2], byte *const digests[2]) {
    if (!has_sha256) return digest_line(at[0], at[0] + sizes[0], digests[0]) &&
                            digest_line(at[1], at[1] + sizes[1], digests[1]);
    sha256_two(at, sizes, digests);
    return true;
}

/* Hashes the row that waits for another to be hashed with. */
static void hash_waiting(Block *block) {
    if (block->waiting && block->waiting_row < block->hashes->count)
        sha256(block->waiting, block->waiting_size, digest_at(block->hashes, block->waiting_row));
    block->waiting = NULL;
}

/* Hashes a row that was appended, now or together with the next one; the block's bytes stay until it is closed. */
static bool hash_row(Block *block, const byte *at, const byte *stop, Py_ssize_t row) {
    if (!has_sha256) return digest_line(at, stop, digest_at(block->hashes, row));
    const byte *waiting = block->waiting_row < row ? block->waiting : NULL;
    block->waiting = waiting ? NULL : at;
    if (waiting) {
        byte *digests[] = {digest_at(block->hashes, block->waiting_row), digest_at(block->hashes, row)};
        return digest_two((const byte *const[]){waiting, at},
                          (const size_t[]){block->waiting_size, (size_t)(stop - at)}, digests);
    }
    block->waiting_size = (size_t)(stop - at);
    block->waiting_row = row;
    return true;
}

void close_block(Block *block) {
    if (block->hashes) hash_waiting(block);
    Py_XDECREF(block->offsets);
    Py_XDECREF(block->lengths);
    Py_XDECREF(block->hashes);
    Py_XDECREF(block->times);
    Py_XDECREF(block->context_of);
    Py_XDECREF(block->event_of);
    Py_XDECREF(block->winners);
    Py_XDECREF(block->values);
    Py_XDECREF(block->firsts);
    Py_XDECREF(block->identities);
    PyBuffer_Release(&block->view);
}

bool give_line(Block *block, const byte *at, const byte *stop, bool is_careful) {
    hash_waiting(block); /* Python may look at any row */
    const char *how = is_careful ? "take_carefully" : "take_line";
    PyObject *done = PyObject_CallMethod(block->packer, how, "OnnL", block->data, at - block->first,
                                         stop - block->first, (long long)block->base);
    Py_XDECREF(done);
    return done != NULL;
}

bool append_row(Block *block, const byte *at, const byte *stop, int64_t us, long place, Py_ssize_t event,
                const Counters *values) {
    Column *const columns[] = {block->hashes, block->values, block->lengths,  block->times,
                               block->context_of, block->event_of, block->offsets};
    byte *places[sizeof columns / sizeof *columns];
    Py_ssize_t rows = block->offsets->count, hashes = block->hashes->count;
    for (size_t one = 0; one < sizeof columns / sizeof *columns; one++) {
        if ((places[one] = push(columns[one])) && (one || hash_row(block, at, stop, hashes))) continue;
        /* a row is whole, or there is none */
        for (size_t other = 0; other <= one; other++) columns[other]->count = rows;
        return false;
    }
    const int64_t numbers[] = {stop - at, us, place, event, block->base + (at - block->first)};
    memcpy(places[1], values, sizeof *values);
    for (size_t one = 0; one < sizeof numbers / sizeof *numbers; one++) memcpy(places[2 + one], &numbers[one], 8);
    return true;
}

const byte *digest_of_row(Block *block, Py_ssize_t row) {
    hash_waiting(block);
    return digest_at(block->hashes, row);
}

Py_ssize_t begin_event(const Block *block, PyObject *numbers, PyObject *name, PyObject *identity, int64_t us) {
    Py_ssize_t event = block->winners->count;
    PyObject *number = PyLong_FromSsize_t(event);
    bool done = number && PyDict_SetItem(numbers, name, number) == 0 &&
                PyList_Append(block->identities, identity) == 0 &&
                push_number(block->winners, block->offsets->count) && push_number(block->firsts, us);
    Py_XDECREF(number);
    return done ? event : -1;
}

bool is_believed(const Block *block, const Moment *moment) {
    return EARLIEST_US <= moment->us && moment->us <= block->latest_us;
}

bool digest_line(const byte *at, const byte *stop, byte digest[DIGEST_SIZE]) {
    if (has_sha256) {
        sha256(at, (size_t)(stop - at), digest);
        return true;
    }
    PyObject *line = PyMemoryView_FromMemory((char *)at, stop - at, PyBUF_READ);
    PyObject *hash = line ? PyObject_CallOneArg(hashlib_sha256, line) : NULL;
    PyObject *found = hash ? PyObject_CallMethod(hash, "digest", NULL) : NULL;
    if (found) memcpy(digest, PyBytes_AS_STRING(found), DIGEST_SIZE);
    Py_XDECREF(line);
    Py_XDECREF(hash);
    Py_XDECREF(found);
    return found != NULL;
}

/* Plain text as a string; None where there is none. */
PyObject *new_text(const Text *text) {
    if (!text->at) Py_RETURN_NONE;
    return PyUnicode_DecodeASCII((const char *)text->at, (Py_ssize_t)text->size, "strict");
}

/* Has the system end this process with the one that started it, where a system can: not even a long file is read on. */
static PyObject *end_with_parent(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    Py_RETURN_NONE;
}

/* For the bench: how far the readers go from now on, by number; returns how far they went before. */
static PyObject *measure(PyObject *Py_UNUSED(module), PyObject *stage) {
    long wanted = PyLong_AsLong(stage);
    if (wanted < CLASSIFY_STAGE || wanted > ALL_STAGES) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a stage is 0, 1 or 2");
        return NULL;
    }
    PyObject *before = PyLong_FromLong(measured_stage);
    measured_stage = (enum Stage)wanted;
    return before;
}

/* For tests: the digests of two texts, by the way that rows are hashed. */
static PyObject *digests_of(PyObject *Py_UNUSED(module), PyObject *given) {
    Py_buffer one, other;
    byte digests[2][DIGEST_SIZE];
    if (!PyArg_ParseTuple(given, "y*y*", &one, &other)) return NULL;
    bool done = digest_two((const byte *const[]){one.buf, other.buf},
                           (const size_t[]){(size_t)one.len, (size_t)other.len},
                           (byte *const[]){digests[0], digests[1]});
    PyBuffer_Release(&one);
    PyBuffer_Release(&other);
    return done ? Py_BuildValue("y#y#", digests[0], (Py_ssize_t)DIGEST_SIZE, digests[1], (Py_ssize_t)DIGEST_SIZE)
                : NULL;
}

/* For tests: the same of one. */
static PyObject *digest_of(PyObject *Py_UNUSED(module), PyObject *line) {
    Py_buffer view;
    byte digest[DIGEST_SIZE];
    if (PyObject_GetBuffer(line, &view, PyBUF_SIMPLE) < 0) return NULL;
    bool done = digest_line(view.buf, (const byte *)view.buf + view.len, digest);
    PyBuffer_Release(&view);
    return done ? PyBytes_FromStringAndSize((const char *)digest, DIGEST_SIZE) : NULL;
}

static PyMethodDef functions[] = {
    {"take_claude", (PyCFunction)(void (*)(void))take_claude, METH_FASTCALL, "take_claude(packer, data, filled, base)"},
    {"take_codex", (PyCFunction)(void (*)(void))take_codex, METH_FASTCALL, "take_codex(packer, data, filled, base)"},
    {"body", body, METH_VARARGS,
     "body(layout, ordinals, offsets, lengths, hashes, times, contexts, context_of, identities, event_of, winners, "
     "values, extras)"},
    {"claude_keys", claude_keys, METH_VARARGS, "claude_keys(identities, sessions, context_of, winners)"},
    {"codex_keys", codex_keys, METH_O, "codex_keys(totals)"},
    {"earliest", earliest, METH_VARARGS, "earliest(times, context_of, contexts)"},
    {"sums", sums, METH_VARARGS,
     "sums(form, kind, states, firsts, winners, context_of, kind_of, identities, values, slot_us, steps)"},
    {"extended", extended, METH_VARARGS, "extended(before, offsets, hashes)"},
    {"met", met, METH_VARARGS, "met(new, stored, settled, loose)"},
    {"log_files", log_files, METH_O, "log_files(root)"},
    {"end_with_parent", end_with_parent, METH_NOARGS, "end_with_parent()"},
    {"measure", measure, METH_O, "measure(stage)"},
    {"digest_of", digest_of, METH_O, "digest_of(line)"},
    {"digests_of", digests_of, METH_VARARGS, "digests_of(line, other)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "tokenledger_dagster.clients._bulk", "Usage rows taken in bulk.", -1, functions,
    NULL, NULL, NULL, NULL,
};

/* Without instructions for it, rows are hashed by Python's library. */
static bool find_sha256(void) {
    PyObject *hashlib = PyImport_ImportModule("hashlib");
    if (hashlib) hashlib_sha256 = PyObject_GetAttrString(hashlib, "sha256");
    Py_XDECREF(hashlib);
    return hashlib_sha256 != NULL;
}

static bool add_sources(PyObject *module) {
    PyObject *sources = PyLong_FromUnsignedLong(BULK_SOURCES);
    if (!sources || PyModule_AddObject(module, "SOURCES", sources) == 0) return sources != NULL;
    Py_DECREF(sources);
    return false;
}

PyMODINIT_FUNC PyInit__bulk(void) {
    prepare_sums();
    has_sha256 = can_sha256();
    if (!has_sha256 && !find_sha256()) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && (!add_sources(module) || !prepare_columns(module)))
        Py_CLEAR(module);
    return module;
}

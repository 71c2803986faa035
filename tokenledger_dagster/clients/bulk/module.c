/* The extension module ``tokenledger_dagster.clients._bulk``: usage rows taken in bulk, compiled.
 *
 * Here: what both readers need of Python's objects, and the module itself.  Not here: any layout of rows.
 */
#include "bulk.h"
#include "sha256.h"

/* Raised whenever the Python packers and this module must change together: an older build is then not used. */
enum { BULK_VERSION = 1 };

static bool has_sha256;
static PyObject *hashlib_sha256;

bool append_new(PyObject *list, PyObject *value) {
    if (!value) return false;
    int failed = PyList_Append(list, value);
    Py_DECREF(value);
    return failed == 0;
}

PyObject *get_list(PyObject *packer, const char *name) { return PyObject_GetAttrString(packer, name); }

bool get_int(PyObject *owner, const char *name, int64_t *found) {
    PyObject *value = PyObject_GetAttrString(owner, name);
    if (!value) return false;
    *found = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return !PyErr_Occurred();
}

bool open_block(Block *block, PyObject *packer, PyObject *data, Py_buffer *view, Py_ssize_t filled, long long base) {
    static const char *const names[ROW_LISTS] = {"_offsets", "_lengths", "_hashes", "_times", "_context_of",
                                                 "_event_of", "_winners", "_values", "_firsts", "_identities"};
    PyObject **const lists[ROW_LISTS] = {&block->offsets, &block->lengths, &block->hashes, &block->times,
                                         &block->context_of, &block->event_of, &block->winners, &block->values,
                                         &block->firsts, &block->identities};
    if (PyObject_GetBuffer(data, view, PyBUF_SIMPLE) < 0) return false;
    bool done = filled >= 0 && filled <= view->len;
    if (!done) PyErr_SetString(PyExc_ValueError, "a block is not longer than its data");
    for (int place = 0; place < ROW_LISTS; place++) {
        *lists[place] = done ? get_list(packer, names[place]) : NULL;
        if (done && *lists[place] && !PyList_Check(*lists[place])) {
            PyErr_Format(PyExc_TypeError, "%s is no list", names[place]);
            done = false;
        }
        done = done && *lists[place];
    }
    block->packer = packer;
    block->data = data;
    block->first = view->buf;
    block->end = block->first + filled;
    block->base = base;
    done = done && get_int(packer, "_latest_us", &block->latest_us);
    if (!done) close_block(block, view);
    return done;
}

void close_block(Block *block, Py_buffer *view) {
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
    PyBuffer_Release(view);
}

bool give_line(const Block *block, const byte *at, const byte *stop, bool is_careful) {
    PyObject *done = PyObject_CallMethod(block->packer, is_careful ? "take_carefully" : "take_line", "OnnL", block->data,
                                         at - block->first, stop - block->first, (long long)block->base);
    Py_XDECREF(done);
    return done != NULL;
}

bool append_row(const Block *block, const byte *at, const byte *stop, PyObject *digest, PyObject *time, long place,
                PyObject *event, PyObject *values) {
    /* all are tried, so that every reference is given away */
    bool done = append_new(block->hashes, digest);
    done = append_new(block->times, time) && done;
    done = append_new(block->event_of, event) && done;
    done = append_new(block->values, values) && done;
    done = append_new(block->offsets, PyLong_FromLongLong(block->base + (at - block->first))) && done;
    done = append_new(block->lengths, PyLong_FromSsize_t(stop - at)) && done;
    return append_new(block->context_of, PyLong_FromLong(place)) && done;
}

bool is_believed(const Block *block, const Moment *moment) {
    return EARLIEST_US <= moment->us && moment->us <= block->latest_us;
}

PyObject *new_moment(const Moment *moment) {
    return PyDateTimeAPI->DateTime_FromDateAndTime(moment->year, moment->month, moment->day, moment->hour,
                                                   moment->minute, moment->second, moment->micro,
                                                   PyDateTime_TimeZone_UTC, PyDateTimeAPI->DateTimeType);
}

PyObject *new_digest(const byte *at, const byte *stop) {
    if (has_sha256) {
        PyObject *digest = PyBytes_FromStringAndSize(NULL, DIGEST_BYTES);
        if (digest) sha256(at, (size_t)(stop - at), (byte *)PyBytes_AS_STRING(digest));
        return digest;
    }
    PyObject *line = PyMemoryView_FromMemory((char *)at, stop - at, PyBUF_READ);
    PyObject *hash = line ? PyObject_CallOneArg(hashlib_sha256, line) : NULL;
    PyObject *digest = hash ? PyObject_CallMethod(hash, "digest", NULL) : NULL;
    Py_XDECREF(line);
    Py_XDECREF(hash);
    return digest;
}

/* Plain text as a string; None where there is none. */
PyObject *new_text(const Text *text) {
    if (!text->at) Py_RETURN_NONE;
    return PyUnicode_DecodeASCII((const char *)text->at, (Py_ssize_t)text->size, "strict");
}

/* For tests: the digest of some bytes, by the way that rows are hashed. */
static PyObject *digest_of(PyObject *Py_UNUSED(module), PyObject *line) {
    Py_buffer view;
    if (PyObject_GetBuffer(line, &view, PyBUF_SIMPLE) < 0) return NULL;
    PyObject *digest = new_digest(view.buf, (const byte *)view.buf + view.len);
    PyBuffer_Release(&view);
    return digest;
}

static PyMethodDef functions[] = {
    {"take_claude", (PyCFunction)(void (*)(void))take_claude, METH_FASTCALL, "take_claude(packer, data, filled, base)"},
    {"take_codex", (PyCFunction)(void (*)(void))take_codex, METH_FASTCALL, "take_codex(packer, data, filled, base)"},
    {"claude_keys", (PyCFunction)(void (*)(void))claude_keys, METH_FASTCALL, "claude_keys(identities, seeds)"},
    {"codex_keys", codex_keys, METH_O, "codex_keys(totals)"},
    {"microseconds_of", microseconds_of, METH_O, "microseconds_of(times)"},
    {"sums", sums, METH_VARARGS,
     "sums(form, kind, states, times, winners, context_of, kind_of, identities, values, slot_us, steps)"},
    {"extended", extended, METH_VARARGS, "extended(before, offsets, hashes)"},
    {"met", met, METH_VARARGS, "met(new, stored, settled, loose)"},
    {"digest_of", digest_of, METH_O, "digest_of(line)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "tokenledger_dagster.clients._bulk", "Usage rows taken in bulk.", -1, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__bulk(void) {
    PyDateTime_IMPORT;
    if (!PyDateTimeAPI || !prepare_times()) return NULL;
    prepare_sums();
    has_sha256 = can_sha256();
    PyObject *hashlib = PyImport_ImportModule("hashlib");
    if (!hashlib) return NULL;
    hashlib_sha256 = PyObject_GetAttrString(hashlib, "sha256");
    Py_DECREF(hashlib);
    PyObject *module = hashlib_sha256 ? PyModule_Create(&definition) : NULL;
    if (module && PyModule_AddIntConstant(module, "VERSION", BULK_VERSION) < 0) Py_CLEAR(module);
    return module;
}

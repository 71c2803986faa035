/* The type ``Column``: see column.h. */
#include "column.h"

#include <datetime.h>

#include "moment.h"

byte *push(Column *column) {
    if (column->count == column->room) {
        if (column->views) {
            PyErr_SetString(PyExc_BufferError, "somebody looks at the column");
            return NULL;
        }
        Py_ssize_t room = column->room ? 2 * column->room : 64;
        byte *data = PyMem_Realloc(column->data, (size_t)(room * column->width));
        if (!data) {
            PyErr_NoMemory();
            return NULL;
        }
        column->data = data;
        column->room = room;
    }
    return column->data + column->width * column->count++;
}

Column *as_column(PyObject *found, Kind kind, const char *name) {
    if (Py_IS_TYPE(found, &ColumnType) && ((Column *)found)->kind == kind) return (Column *)found;
    PyErr_Format(PyExc_TypeError, "%s is no column of kind %c", name, kind);
    return NULL;
}

/* ---------------------------------------------------------------- objects from and to items */

static bool read_time(PyObject *given, int64_t *us) {
    if (!PyDateTime_Check(given) || PyDateTime_DATE_GET_TZINFO(given) == Py_None) {
        PyErr_SetString(PyExc_TypeError, "a time has a zone");
        return false;
    }
    PyObject *utc = given;
    if (PyDateTime_DATE_GET_TZINFO(given) == PyDateTime_TimeZone_UTC) Py_INCREF(utc);
    else utc = PyObject_CallMethod(given, "astimezone", "O", PyDateTime_TimeZone_UTC);
    if (!utc || !PyDateTime_Check(utc)) {
        if (utc) PyErr_SetString(PyExc_TypeError, "a time has a time in UTC");
        Py_XDECREF(utc);
        return false;
    }
    *us = us_of(&(Moment){.year = PyDateTime_GET_YEAR(utc),
                          .month = PyDateTime_GET_MONTH(utc),
                          .day = PyDateTime_GET_DAY(utc),
                          .hour = PyDateTime_DATE_GET_HOUR(utc),
                          .minute = PyDateTime_DATE_GET_MINUTE(utc),
                          .second = PyDateTime_DATE_GET_SECOND(utc),
                          .micro = PyDateTime_DATE_GET_MICROSECOND(utc)});
    Py_DECREF(utc);
    return true;
}

static PyObject *new_time(int64_t us) {
    Moment moment;
    moment_of(us, &moment);
    return PyDateTimeAPI->DateTime_FromDateAndTime(moment.year, moment.month, moment.day, moment.hour, moment.minute,
                                                   moment.second, moment.micro, PyDateTime_TimeZone_UTC,
                                                   PyDateTimeAPI->DateTimeType);
}

static bool read_counters(PyObject *given, Counters *counters) {
    if (!PyTuple_Check(given) || PyTuple_GET_SIZE(given) > MOST_VALUES) {
        PyErr_SetString(PyExc_TypeError, "values are a tuple of at most twelve counters");
        return false;
    }
    counters->size = PyTuple_GET_SIZE(given);
    for (Py_ssize_t place = 0; place < counters->size; place++) {
        PyObject *one = PyTuple_GET_ITEM(given, place);
        counters->counts[place] = one == Py_None ? NO_COUNT : PyLong_AsLongLong(one);
        if (one != Py_None && counters->counts[place] < 0) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a counter is not negative");
            return false;
        }
    }
    return true;
}

PyObject *new_tuple(const int64_t *counts, Py_ssize_t size) {
    PyObject *found = PyTuple_New(size);
    for (Py_ssize_t place = 0; found && place < size; place++) {
        PyObject *one = Py_None;
        if (counts[place] == NO_COUNT) Py_INCREF(one);
        else one = PyLong_FromLongLong(counts[place]);
        if (!one) Py_CLEAR(found);
        else PyTuple_SET_ITEM(found, place, one);
    }
    return found;
}

/* An item as it is kept; made before the column is touched, for making it may run Python. */
typedef union {
    int64_t number;
    byte digest[DIGEST_SIZE];
    Counters counters;
} Item;

static bool read_item(Kind kind, PyObject *given, Item *item) {
    switch (kind) {
    case NUMBERS:
        item->number = PyLong_AsLongLong(given);
        return item->number != -1 || !PyErr_Occurred();
    case TIMES:
        return read_time(given, &item->number);
    case DIGESTS:
        if (!PyBytes_Check(given) || PyBytes_GET_SIZE(given) != DIGEST_SIZE) {
            PyErr_SetString(PyExc_TypeError, "a digest is 32 bytes");
            return false;
        }
        memcpy(item->digest, PyBytes_AS_STRING(given), DIGEST_SIZE);
        return true;
    case VALUES:
        memset(item, 0, sizeof *item);
        return read_counters(given, &item->counters);
    }
    return false;
}

/* ---------------------------------------------------------------- what Python may do */

static PyObject *column_new(PyTypeObject *type, PyObject *given, PyObject *named) {
    const char *kind;
    if (named && PyDict_GET_SIZE(named)) {
        PyErr_SetString(PyExc_TypeError, "Column(kind)");
        return NULL;
    }
    if (!PyArg_ParseTuple(given, "s", &kind)) return NULL;
    if (strlen(kind) != 1 || !strchr("qthv", *kind)) {
        PyErr_SetString(PyExc_ValueError, "a column is of kind q, t, h or v");
        return NULL;
    }
    if (*kind == TIMES && !PyDateTimeAPI) PyDateTime_IMPORT; /* not before: a walk of logs needs none of it */
    Column *column = *kind == TIMES && !PyDateTimeAPI ? NULL : (Column *)type->tp_alloc(type, 0);
    if (!column) return NULL;
    column->kind = (Kind)*kind;
    column->width = *kind == DIGESTS ? DIGEST_SIZE : *kind == VALUES ? (Py_ssize_t)sizeof(Counters) : 8;
    return (PyObject *)column;
}

static void column_dealloc(Column *column) {
    PyMem_Free(column->data);
    Py_TYPE(column)->tp_free(column);
}

static Py_ssize_t column_length(Column *column) { return column->count; }

static PyObject *column_item(Column *column, Py_ssize_t row) {
    if (row < 0 || row >= column->count) {
        PyErr_SetString(PyExc_IndexError, "no such row");
        return NULL;
    }
    const byte *at = column->data + column->width * row;
    switch (column->kind) {
    case NUMBERS: return PyLong_FromLongLong(numbers_of(column)[row]);
    case TIMES: return new_time(numbers_of(column)[row]);
    case DIGESTS: return PyBytes_FromStringAndSize((const char *)at, DIGEST_SIZE);
    case VALUES: return new_tuple(((const Counters *)at)->counts, (Py_ssize_t)((const Counters *)at)->size);
    }
    return NULL;
}

static int column_set(Column *column, Py_ssize_t row, PyObject *given) {
    Item item;
    if (given && !read_item(column->kind, given, &item)) return -1;
    if (!given || row < 0 || row >= column->count) {
        PyErr_SetString(PyExc_IndexError, "no such row");
        return -1;
    }
    memcpy(column->data + column->width * row, &item, (size_t)column->width);
    return 0;
}

static PyObject *column_append(Column *column, PyObject *given) {
    Item item;
    byte *at = read_item(column->kind, given, &item) ? push(column) : NULL;
    if (!at) return NULL;
    memcpy(at, &item, (size_t)column->width);
    Py_RETURN_NONE;
}

/* Read only; while somebody looks, no room is made for more rows. */
static int column_buffer(Column *column, Py_buffer *view, int flags) {
    int failed = PyBuffer_FillInfo(view, (PyObject *)column, column->data ? column->data : (byte *)"",
                                   column->count * column->width, 1, flags);
    if (!failed) column->views++;
    return failed;
}

static void column_release(Column *column, Py_buffer *Py_UNUSED(view)) { column->views--; }

static PySequenceMethods sequence = {
    .sq_length = (lenfunc)column_length,
    .sq_item = (ssizeargfunc)column_item,
    .sq_ass_item = (ssizeobjargproc)column_set,
};
static PyBufferProcs buffer = {
    .bf_getbuffer = (getbufferproc)column_buffer,
    .bf_releasebuffer = (releasebufferproc)column_release,
};
static PyMethodDef methods[] = {
    {"append", (PyCFunction)column_append, METH_O, "append(item)"},
    {NULL, NULL, 0, NULL},
};

PyTypeObject ColumnType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "tokenledger_dagster.clients._bulk.Column",
    .tp_doc = "Column(kind): numbers (q), times (t), digests (h) or counters (v) of a pack's rows.",
    .tp_basicsize = sizeof(Column),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = column_new,
    .tp_dealloc = (destructor)column_dealloc,
    .tp_as_sequence = &sequence,
    .tp_as_buffer = &buffer,
    .tp_methods = methods,
};

bool prepare_columns(PyObject *module) {
    if (PyType_Ready(&ColumnType) < 0) return false;
    Py_INCREF(&ColumnType);
    if (PyModule_AddObject(module, "Column", (PyObject *)&ColumnType) == 0) return true;
    Py_DECREF(&ColumnType);
    return false;
}

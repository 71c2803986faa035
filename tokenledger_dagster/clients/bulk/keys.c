/* Which keys of new packs somebody else shows too (``ingest.meeting``).
 *
 * Here: one table of the new keys, and a look at it for every key of all columns.  Not here: what is done about it.
 */
#include "bulk.h"

enum { HELD = 1, WANTED = 2, OUTSIDE = 4 };

typedef struct {
    uint32_t *keys;
    byte *flags;
    size_t mask;
} Table;

static size_t place_of(const Table *table, uint32_t key) {
    size_t place = key * UINT32_C(2654435761) & table->mask; /* keys are check sums: any mixing does */
    while (table->flags[place] && table->keys[place] != key) place = (place + 1) & table->mask;
    return place;
}

static void insert(Table *table, uint32_t key, byte flags, byte again) {
    size_t place = place_of(table, key);
    table->keys[place] = key;
    table->flags[place] |= table->flags[place] ? flags | again : flags;
}

static bool begin_table(Table *table, size_t room) {
    size_t size = 64;
    while (size < 2 * room) size *= 2;
    *table = (Table){PyMem_Malloc(size * sizeof *table->keys), PyMem_Calloc(size, 1), size - 1};
    if (table->keys && table->flags) return true;
    PyErr_NoMemory();
    return false;
}

typedef bool Each(void *to, Py_ssize_t column, Py_ssize_t event, uint32_t key);

/* Calls `each` for the keys of one column after the other, of those that are wanted where only some are. */
__attribute__((always_inline)) /* a call for each of all keys would cost more than what is done with it */
static inline bool walk(PyObject *columns, Each *each, void *to, const byte *wanted) {
    for (Py_ssize_t column = 0; column < PyList_GET_SIZE(columns); column++) {
        Py_buffer view;
        if (wanted && !wanted[column]) continue;
        if (PyObject_GetBuffer(PyList_GET_ITEM(columns, column), &view, PyBUF_SIMPLE) < 0) return false;
        bool done = true;
        for (Py_ssize_t event = 0; done && event < view.len / 4; event++) {
            uint32_t key;
            memcpy(&key, (const byte *)view.buf + 4 * event, 4);
            done = each(to, column, event, key);
        }
        PyBuffer_Release(&view);
        if (!done) return false;
    }
    return true;
}

static bool count_one(void *to, Py_ssize_t column, Py_ssize_t event, uint32_t key) {
    (void)column, (void)event, (void)key;
    ++*(size_t *)to;
    return true;
}

static bool insert_new(void *to, Py_ssize_t column, Py_ssize_t event, uint32_t key) {
    (void)column, (void)event;
    insert(to, key, HELD, WANTED);
    return true;
}

typedef struct {
    Table *table;
    byte *holds; /* by column: whether it has a wanted key */
} Marks;

static bool mark_stored(void *to, Py_ssize_t column, Py_ssize_t event, uint32_t key) {
    (void)event;
    const Marks *marks = to;
    size_t place = place_of(marks->table, key);
    if (marks->table->flags[place]) marks->table->flags[place] |= marks->holds[column] = WANTED;
    return true;
}

static bool mark_outside(void *to, Py_ssize_t column, Py_ssize_t event, uint32_t key) {
    (void)column, (void)event;
    Table *table = to;
    size_t place = place_of(table, key);
    if (table->flags[place]) table->flags[place] |= WANTED | OUTSIDE;
    return true;
}

typedef struct {
    const Table *table;
    PyObject *found;
    Py_ssize_t first; /* number of the first column */
} Search;

static bool collect(void *to, Py_ssize_t column, Py_ssize_t event, uint32_t key) {
    const Search *search = to;
    if (!(search->table->flags[place_of(search->table, key)] & WANTED)) return true;
    return append_new(search->found, Py_BuildValue("(kln)", (unsigned long)key, (long)(search->first + column), event));
}

/* met(new, stored, settled, loose)
 *
 * `new`, `stored` and `settled` are columns of 32-bit keys, `loose` keys of records outside of packs.  Returns (key,
 * column, event) of whatever holds a key of `new` or `loose` that somebody else has too, columns numbered through `new`
 * and then `stored`; and the keys that records outside of packs have.
 */
PyObject *met(PyObject *Py_UNUSED(module), PyObject *given) {
    PyObject *new, *stored, *settled, *loose;
    if (!PyArg_ParseTuple(given, "O!O!O!O!", &PyList_Type, &new, &PyList_Type, &stored, &PyList_Type, &settled,
                          &PyList_Type, &loose))
        return NULL;
    Table table = {0};
    size_t room = (size_t)PyList_GET_SIZE(loose);
    Marks marks = {&table, PyMem_Calloc((size_t)PyList_GET_SIZE(stored) + 1, 1)};
    if (!marks.holds) return PyErr_NoMemory();
    PyObject *found = PyList_New(0), *outside = PySet_New(NULL), *both = NULL;
    bool done = found && outside && walk(new, count_one, &room, NULL) && begin_table(&table, room) &&
                walk(new, insert_new, &table, NULL);
    for (Py_ssize_t one = 0; done && one < PyList_GET_SIZE(loose); one++) {
        unsigned long key = PyLong_AsUnsignedLong(PyList_GET_ITEM(loose, one));
        done = !PyErr_Occurred();
        if (done) insert(&table, (uint32_t)key, HELD | WANTED | OUTSIDE, 0);
    }
    Search in_new = {&table, found, 0}, in_stored = {&table, found, PyList_GET_SIZE(new)};
    done = done && walk(stored, mark_stored, &marks, NULL) && walk(settled, mark_outside, &table, NULL) &&
           walk(new, collect, &in_new, NULL) && walk(stored, collect, &in_stored, marks.holds);
    for (size_t place = 0; done && place <= table.mask; place++) {
        if (!(table.flags[place] & OUTSIDE)) continue;
        PyObject *key = PyLong_FromUnsignedLong(table.keys[place]);
        done = key && PySet_Add(outside, key) == 0;
        Py_XDECREF(key);
    }
    if (done) both = PyTuple_Pack(2, found, outside);
    PyMem_Free(marks.holds);
    PyMem_Free(table.keys);
    PyMem_Free(table.flags);
    Py_XDECREF(found);
    Py_XDECREF(outside);
    return both;
}

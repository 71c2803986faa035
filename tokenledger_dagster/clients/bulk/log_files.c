/* Walking a root for log files (``clients.walk.log_files``), with one system call a file and without an object for each
 * folder.
 *
 * Here: the walk of roots all of whose ``*.jsonl`` count, in the same order.  Not here: any other root, or a name that is
 * not plain ASCII, whose spelling Python decides: ``log_files`` then says None, and Python walks.
 */
#include "bulk.h"

#if !defined(_WIN32)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#if defined(__APPLE__)
#define MTIME st_mtimespec
#define CTIME st_ctimespec
#else
#define MTIME st_mtim
#define CTIME st_ctim
#endif

enum { MOST_DEPTH = 24 }; /* clients.walk.MAX_DEPTH */
enum Sort { A_FILE, A_FOLDER, A_LINK, UNTOLD, NEITHER };

typedef struct {
    char *name;
    enum Sort sort;
} Entry;

typedef struct {
    PyObject *found;     /* a list */
    struct stat *links;  /* folders that were reached through a symlink */
    size_t link_count;
    bool is_odd;         /* Python has to walk */
} Tree;

/* Makes room for one more; NULL where there is no memory, and what there was stays. */
static void *grown(void *all, size_t count, size_t *room, size_t size) {
    if (count < *room) return all;
    size_t wanted = *room ? *room * 2 : 64;
    void *larger = realloc(all, wanted * size);
    if (larger) *room = wanted;
    return larger;
}

static bool ends_with(const char *text, size_t size, const char *end) {
    size_t length = strlen(end);
    return size >= length && memcmp(text + size - length, end, length) == 0;
}

/* clients.walk.is_log */
static bool is_log(const char *name) {
    size_t size = strlen(name);
    if (ends_with(name, size, ".jsonl")) return true;
    if (ends_with(name, size, ".gz")) size -= 3;
    else if (ends_with(name, size, ".zst")) size -= 4;
    size_t digits = 0;
    while (digits < size && name[size - 1 - digits] >= '0' && name[size - 1 - digits] <= '9') digits++;
    if (digits && digits < size && name[size - 1 - digits] == '.') size -= digits + 1;
    return ends_with(name, size, ".jsonl");
}

static char *joined(const char *folder, const char *name) {
    size_t before = strlen(folder), after = strlen(name);
    bool is_closed = before && folder[before - 1] == '/';
    char *path = malloc(before + after + 2);
    if (!path) return NULL;
    memcpy(path, folder, before);
    if (!is_closed) path[before++] = '/';
    memcpy(path + before, name, after + 1);
    return path;
}

static int by_name(const void *one, const void *other) {
    return strcmp(((const Entry *)one)->name, ((const Entry *)other)->name);
}

static enum Sort sort_of(byte told) {
    switch (told) {
    case DT_REG: return A_FILE;
    case DT_DIR: return A_FOLDER;
    case DT_LNK: return A_LINK;
    case DT_UNKNOWN: return UNTOLD;
    default: return NEITHER;
    }
}

/* Whether a time in ns fits; one beyond the year 2262 is told by Python. */
static bool is_near(const struct timespec *time) { return time->tv_sec > -9000000000 && time->tv_sec < 9000000000; }

/* Adds a file as (path, size, times of modification and change in ns, inode, device). */
static bool add_file(Tree *tree, const char *path, const struct stat *stat) {
    if (!is_near(&stat->MTIME) || !is_near(&stat->CTIME)) tree->is_odd = true;
    /* what has no path that can be opened is none of ours */
    if (tree->is_odd || strlen(path) >= PATH_MAX) return true;
    PyObject *text = PyUnicode_DecodeFSDefault(path);
    if (!text) return false;
    int64_t mtime = (int64_t)stat->MTIME.tv_sec * 1000000000 + stat->MTIME.tv_nsec;
    int64_t ctime = (int64_t)stat->CTIME.tv_sec * 1000000000 + stat->CTIME.tv_nsec;
    return append_new(tree->found, Py_BuildValue("NLLLKK", text, (long long)stat->st_size, (long long)mtime,
                                                 (long long)ctime, (unsigned long long)stat->st_ino,
                                                 (unsigned long long)stat->st_dev));
}

/* Notes a folder that a symlink leads to; false where another one led there. */
static bool is_new_link(Tree *tree, const struct stat *stat) {
    for (size_t one = 0; one < tree->link_count; one++)
        if (tree->links[one].st_dev == stat->st_dev && tree->links[one].st_ino == stat->st_ino) return false;
    struct stat *more = realloc(tree->links, (tree->link_count + 1) * sizeof *more);
    if (!more) {
        tree->is_odd = true;
        return false;
    }
    tree->links = more;
    tree->links[tree->link_count++] = *stat;
    return true;
}

static bool take_folder(Tree *tree, int above, const char *name, const char *path, int depth);

/* Tells what an entry is and takes it if it is a log; a folder is left to the caller.  False: an exception is set. */
static bool take_entry(Tree *tree, int open_folder, const char *folder, Entry *entry) {
    struct stat stat;
    bool is_known = false, is_link = entry->sort == A_LINK;
    if (entry->sort == UNTOLD) {
        if (fstatat(open_folder, entry->name, &stat, AT_SYMLINK_NOFOLLOW) < 0) entry->sort = NEITHER;
        is_link = entry->sort == UNTOLD && S_ISLNK(stat.st_mode);
    }
    if (entry->sort == A_LINK || entry->sort == UNTOLD) {
        is_known = fstatat(open_folder, entry->name, &stat, 0) == 0; /* else it leads nowhere */
        entry->sort = !is_known ? NEITHER : S_ISREG(stat.st_mode) ? A_FILE : S_ISDIR(stat.st_mode) ? A_FOLDER : NEITHER;
    }
    if (entry->sort == A_FOLDER && is_link && !is_new_link(tree, &stat)) entry->sort = NEITHER;
    if (entry->sort != A_FILE || !is_log(entry->name)) return true;
    if (!is_known && fstatat(open_folder, entry->name, &stat, 0) < 0) return true; /* it vanished */
    char *path = joined(folder, entry->name);
    bool done = path ? add_file(tree, path, &stat) : (PyErr_NoMemory(), false);
    free(path);
    return done;
}

typedef struct {
    Entry *all;
    size_t count, room;
} Entries;

static void forget(Entries *entries) {
    while (entries->count) free(entries->all[--entries->count].name);
    free(entries->all);
}

/* Adds one entry of a folder; false where its name is not plain, or where there is no memory. */
static bool add_entry(Entries *entries, const char *name, enum Sort sort) {
    if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) return true;
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at >= 0x80) return false;
    Entry *more = grown(entries->all, entries->count, &entries->room, sizeof *more);
    char *copy = more ? strdup(name) : NULL;
    if (more) entries->all = more;
    if (copy) entries->all[entries->count++] = (Entry){copy, sort};
    return copy != NULL;
}

#if defined(__linux__)

/* One entry as the system gives it (getdents64(2)). */
typedef struct {
    uint64_t inode;
    int64_t next;
    uint16_t size;
    byte sort;
    char name[];
} Given;

/* Reads the entries of an open folder; false where Python has to walk.  Two calls of the system less than readdir. */
static bool read_entries(int folder, Entries *entries) {
    _Alignas(Given) byte given[32 << 10];
    for (long size; (size = syscall(SYS_getdents64, folder, given, sizeof given)) != 0;) {
        if (size < 0) return false;
        for (long at = 0; at < size;) {
            const Given *one = (const Given *)(given + at);
            if (!add_entry(entries, one->name, sort_of(one->sort))) return false;
            at += one->size;
        }
    }
    return true;
}

#else

/* Reads the entries of an open folder; false where Python has to walk. */
static bool read_entries(int folder, Entries *entries) {
    int another = dup(folder);
    DIR *stream = another < 0 ? NULL : fdopendir(another);
    if (!stream && another >= 0) close(another);
    bool done = stream != NULL;
    for (struct dirent *one; done && (one = readdir(stream));) done = add_entry(entries, one->d_name, sort_of(one->d_type));
    if (stream) closedir(stream);
    return done;
}

#endif

/* Takes the files of a folder, then its folders from the last to the first; false where Python has to walk or an exception
 * is set. */
static bool take_folder(Tree *tree, int above, const char *name, const char *path, int depth) {
    int number = openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (number < 0) {
        if (errno == EMFILE || errno == ENFILE) tree->is_odd = true; /* Python opens one at a time */
        return !tree->is_odd; /* what cannot be read is passed over */
    }
    Entries entries = {NULL, 0, 0};
    bool done = read_entries(number, &entries) && PyErr_CheckSignals() == 0;
    if (done && entries.count) qsort(entries.all, entries.count, sizeof *entries.all, by_name);
    for (size_t one = 0; done && one < entries.count; one++)
        done = take_entry(tree, number, path, &entries.all[one]) && !tree->is_odd;
    for (size_t left = entries.count; done && depth < MOST_DEPTH && left--;) {
        if (entries.all[left].sort != A_FOLDER) continue;
        char *below = joined(path, entries.all[left].name);
        done = below && (strlen(below) >= PATH_MAX || take_folder(tree, number, entries.all[left].name, below, depth + 1));
        free(below);
    }
    forget(&entries);
    close(number);
    return done;
}

PyObject *log_files(PyObject *Py_UNUSED(module), PyObject *root) {
    PyObject *encoded = NULL;
    if (!PyUnicode_FSConverter(root, &encoded)) return NULL;
    const char *path = PyBytes_AS_STRING(encoded);
    Tree tree = {.found = PyList_New(0)};
    bool done = tree.found && take_folder(&tree, AT_FDCWD, path, path, 0);
    Py_DECREF(encoded);
    free(tree.links);
    if (done) return tree.found;
    Py_XDECREF(tree.found);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

#else

PyObject *log_files(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(root)) { Py_RETURN_NONE; }

#endif

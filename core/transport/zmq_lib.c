#include "core/transport/zmq_lib.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY "libzmq.so.5"
#define PACKAGE "libzmq5" /* of Debian and Ubuntu */
enum { VERSION_MAJOR = 4, VERSION_MINOR = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static sk_zmq_lib      library;
static bool            is_open;

static const char *const names[] = {
#define SK_ZMQ_NAME(name) "zmq_" #name,
    SK_ZMQ_FUNCTIONS(SK_ZMQ_NAME)
#undef SK_ZMQ_NAME
};
_Static_assert(sizeof library == sizeof names / sizeof *names * sizeof(void *), "one pointer for each name");

static sk_status find_functions(void *handle, sk_error *reterr) {
    for (int i = 0; i < SK_COUNT(names); i++) {
        void *function = dlsym(handle, names[i]);
        if (!function) return SK_FAIL(reterr, SK_EVERSION, "%s has no %s", LIBRARY, names[i]);
        memcpy((char *)&library + (size_t)i * sizeof function, &function, sizeof function);
    }
    return SK_OK;
}

static sk_status check_library(sk_error *reterr) {
    int major = 0, minor = 0, patch = 0;
    library.version(&major, &minor, &patch);
    if (major != VERSION_MAJOR || minor < VERSION_MINOR)
        return SK_FAIL(reterr, SK_EVERSION, "%s is ZeroMQ %d.%d.%d, wanted %d.%d or later", LIBRARY, major, minor,
                       patch, VERSION_MAJOR, VERSION_MINOR);
    if (!library.has("curve"))
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "%s was built without CURVE, so it cannot encrypt", LIBRARY);
    return SK_OK;
}

/* Once open it stays: threads of it may run. */
static sk_status open_library(sk_error *reterr) {
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        return SK_FAIL(reterr, SK_ENOTFOUND, "several hosts need ZeroMQ (package %s), which cannot be loaded: %s",
                       PACKAGE, why ? why : LIBRARY);
    }
    sk_status status = find_functions(handle, reterr);
    if (status == SK_OK) status = check_library(reterr);
    if (status != SK_OK) dlclose(handle);
    return status;
}

sk_status sk_zmq_lib_get(const sk_zmq_lib **ret_lib, sk_error *reterr) {
    SK_ASSERT(ret_lib);
    sk_status status = SK_OK;
    pthread_mutex_lock(&lock);
    if (!is_open) status = open_library(reterr);
    if (status == SK_OK) is_open = true;
    pthread_mutex_unlock(&lock);
    if (status == SK_OK) *ret_lib = &library;
    return status;
}

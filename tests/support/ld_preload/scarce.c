/* Simulate a lack of memory: PyTorch's allocator on the CPU, and nothing else, gets less than 4 MB in one piece. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

int posix_memalign(void **place, size_t alignment, size_t size) {
    static int (*next)(void **, size_t, size_t);
    if (!next) next = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
    return size >= 4u << 20 ? ENOMEM : next(place, alignment, size);
}

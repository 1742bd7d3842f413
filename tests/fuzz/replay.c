/* replay FOLDER: runs a fuzz target over every file of a folder, in order of their names, and prints TAP. So the inputs
 * that once broke something stay tests in every build, with any compiler. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exactly its size, so that a sanitizer sees a read behind its end. */
static void run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    FUZZ_CHECK(size >= 0);
    rewind(file);
    uint8_t *bytes = malloc(size ? (size_t)size : 1);
    FUZZ_CHECK(bytes && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
}

int main(int argc, char **argv) {
    struct dirent **names = NULL;
    FILE           *tap = fdopen(dup(STDOUT_FILENO), "w"); /* a target may close the other one */
    int             n = argc == 2 ? scandir(argv[1], &names, NULL, alphasort) : -1, number = 0;
    if (n < 0 || !tap) {
        fprintf(stderr, "usage: replay FOLDER\n");
        return 2;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        if (names[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
            fprintf(stderr, "%s\n", path); /* who crashed is the last one named */
            run_file(path);
            fprintf(tap, "ok %d %s\n", ++number, names[i]->d_name);
        }
        free(names[i]);
    }
    free(names);
    fprintf(tap, "1..%d\n", number);
    fclose(tap);
    return number > 0 ? 0 : 1;
}

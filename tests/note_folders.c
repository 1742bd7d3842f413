/* note_folders: a test that fails, or is killed, does not come to removing its temporary folder. So mkdtemp() here
 * writes down every folder it made, in the file $SKIFF_TEST_FOLDERS, and tests/wrapper.sh removes what is left of them.
 *
 * Linked into every test program. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *mkdtemp(char *template) {
    char *(*real_mkdtemp)(char *);
    *(void **)&real_mkdtemp = dlsym(RTLD_NEXT, "mkdtemp");
    char       *made = real_mkdtemp(template);
    const char *notes = getenv("SKIFF_TEST_FOLDERS");
    int         file = made && notes ? open(notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (file >= 0) {
        dprintf(file, "%s\n", made);
        close(file);
    }
    return made;
}

/* A module in C that changes nothing: it says on standard error which machine it runs on and passes its input through.
 * It shows that a module reached the cluster and was compiled there.
 *
 *     module: remote_test.c
 *     compilation: gcc -o remote_test remote_test.c
 *     execution: ./remote_test
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

int main(int argc, char **argv) {
    struct utsname machine;
    char piece[65536];
    size_t got, total = 0;
    if (uname(&machine) == 0) {
        fprintf(stderr, "remote_test: running on %s (%s %s %s)\n", machine.nodename, machine.sysname, machine.release,
                machine.machine);
    }
    while ((got = fread(piece, 1, sizeof piece, stdin)) > 0) {
        if (fwrite(piece, 1, got, stdout) != got) {
            return 1;
        }
        total += got;
    }
    if (total == 0 && argc > 1) {
        total = strlen(argv[argc - 1]);
        if (fwrite(argv[argc - 1], 1, total, stdout) != total) {
            return 1;
        }
    }
    if (total == 0) {
        fprintf(stderr, "remote_test: there is no input\n");
        return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

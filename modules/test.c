/* A module in C that changes nothing: it says on standard error what it was given and prints its input as it came.
 * A first module to try, and a pattern for others. The input is on standard input and, up to 64 KiB, also the last argument.
 *
 *     module: test.c
 *     compilation: gcc -o test test.c
 *     execution: ./test
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_all(FILE *stream, size_t *length) {
    size_t size = 65536;
    char *text = malloc(size);
    *length = 0;
    while (text != NULL) {
        size_t got = fread(text + *length, 1, size - *length - 1, stream);
        *length += got;
        if (got == 0) {
            text[*length] = '\0';
            return text;
        }
        if (size - *length < 2) {
            char *larger = realloc(text, size * 2);
            if (larger == NULL) {
                free(text);
                return NULL;
            }
            text = larger;
            size *= 2;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    size_t length = 0;
    const char *stage = getenv("JOBFERRY_STAGE");
    char *text = read_all(stdin, &length);
    const char *input = text;
    if (text == NULL) {
        fprintf(stderr, "test: out of memory\n");
        return 1;
    }
    if (length == 0 && argc > 1) {
        input = argv[argc - 1];
        length = strlen(input);
    }
    if (length == 0 || input[strspn(input, " \t\r\n")] != '{') {
        fprintf(stderr, "test: there is no JSON object on standard input or as the last argument\n");
        return 1;
    }
    fprintf(stderr, "test: %lu bytes of input in %s\n", (unsigned long)length, stage ? stage : "no stage");
    if (fwrite(input, 1, length, stdout) != length || fflush(stdout) != 0) {
        fprintf(stderr, "test: standard output cannot be written\n");
        return 1;
    }
    free(text);
    return 0;
}

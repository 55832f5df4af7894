/* The job of compile.yml: pi by the midpoint rule with $1 steps. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    long steps = argc > 1 ? atol(argv[1]) : 1000000;
    double sum = 0.0;
    long step;
    for (step = 0; step < steps; step++) {
        double x = (step + 0.5) / steps;
        sum += 4.0 / (1.0 + x * x);
    }
    printf("%.10f\n", sum / steps);
    return 0;
}

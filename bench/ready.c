/*
 * How long a service takes to become ready.
 *
 * usage: bench-ready ADMIN_PORT STARTED    STARTED: when it was started, Unix seconds with a point
 *
 * Asks /readyz every millisecond until it answers 200, prints the milliseconds that passed, and
 * gives up after ten seconds.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static bool
is_ready(const struct sockaddr_in *address)
{
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: close\r\n\r\n";
    char answer[64] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ready;

    must(fd >= 0, "making a socket");
    ready = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
            send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
            recv(fd, answer, sizeof(answer) - 1, 0) > 0 && strncmp(answer, "HTTP/1.1 200", 12) == 0;
    (void)close(fd);
    return ready;
}

int
main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timespec pause = {0, 1000000};
    struct timespec now;

    if (argc != 3) {
        fprintf(stderr, "usage: bench-ready ADMIN_PORT STARTED\n");
        return 64;
    }
    address.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    for (int i = 0; i < 10000; i++) {
        if (is_ready(&address)) {
            must(clock_gettime(CLOCK_REALTIME, &now) == 0, "reading the clock");
            printf("%.1f\n",
                   ((double)now.tv_sec - strtod(argv[2], NULL)) * 1e3 + (double)now.tv_nsec / 1e6);
            return 0;
        }
        (void)nanosleep(&pause, NULL);
    }
    fprintf(stderr, "bench-ready: not ready after ten seconds\n");
    return 1;
}

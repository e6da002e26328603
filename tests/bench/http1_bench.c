/* http1_bench.c: what it costs to parse a head.
 *
 *   ninja -C build/release http1_bench && build/release/http1_bench [ROUNDS]
 *
 * ns of CPU a head, best of ROUNDS (9). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ban.h"
#include "net/http1.h"

enum {
    PARSES = 20000
};

static const char small[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
static const char post[] = "POST /api/orders?trace=1 HTTP/1.1\r\n"
                           "Host: shop.example:8080\r\n"
                           "User-Agent: loadgen/1.0\r\n"
                           "Content-Type: application/json\r\n"
                           "Content-Length: 128\r\n"
                           "Accept: */*\r\n"
                           "X-Request-Id: 0123456789abcdef01234\r\n"
                           "\r\n";
static const char browser[] =
    "GET /products/list?category=garden&page=3&sort=price HTTP/1.1\r\n"
    "Host: shop.example\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"118\", \"Not=A?Brand\";v=\"99\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/118.0.0.0 Safari/537.36\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Referer: http://shop.example/products\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: session=9f8e7d6c5b4a3f2e1d0c; theme=dark\r\n"
    "\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Server: example\r\n"
                             "Date: Sun, 01 Jan 2023 00:00:00 GMT\r\n"
                             "Content-Type: text/plain\r\n"
                             "Content-Length: 100\r\n"
                             "Connection: keep-alive\r\n"
                             "\r\n";

static struct http1_head head;

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void parse(struct str bytes, bool request)
{
    size_t used = 0;
    int status = 0;
    enum http1_result result = request ? http1_parse_request(bytes, &head, &used, &status)
                                       : http1_parse_response(bytes, HTTP1_GET, &head, &used);
    if (result != HTTP1_DONE || used != bytes.len) {
        fprintf(stderr, "http1_bench: refused\n");
        exit(1);
    }
}

static void measure(const char *label, const char *text, bool request, int rounds)
{
    struct str bytes = str_of(text);
    double best = 1e18;
    for (int round = 0; round < rounds; round++) {
        double from = cpu_ns();
        for (int i = 0; i < PARSES; i++) {
            parse(bytes, request);
        }
        double took = (cpu_ns() - from) / PARSES;
        best = took < best ? took : best;
    }
    printf("%-16s %4zu B %7.1f ns\n", label, bytes.len, best);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 9;
    measure("GET", small, true, rounds);
    measure("POST", post, true, rounds);
    measure("browser's GET", browser, true, rounds);
    measure("answer", answer, false, rounds);
    return 0;
}

#include "cli/cluster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ASK_MS = 15000 };

/* Where Slurm finds a host: its NodeAddr. */
static sk_status ask_address(const char *host, char *ret_address, size_t size, sk_error *reterr) {
    sk_process_said said;
    SK_TRY(sk_process_run((const char *const[]){"scontrol", "-o", "show", "node", host, NULL}, NULL, ASK_MS, &said,
                          reterr));
    static const char name[] = " NodeAddr=";
    const char *at = said.code == 0 ? strstr(said.out, name) : NULL;
    if (at) {
        at += sizeof name - 1;
        snprintf(ret_address, size, "%.*s", (int)strcspn(at, " \n"), at);
    }
    sk_process_said_deinit(&said);
    if (!at) return SK_FAIL(reterr, SK_EIO, "scontrol says no address of host %s", host);
    return SK_OK;
}

/* The address of this host from which packets go to that one. */
static sk_status find_route(const char *to, char ret_address[INET_ADDRSTRLEN], sk_error *reterr) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *found = NULL;
    int rc = getaddrinfo(to, "9", &hints, &found); /* any port: nothing is sent */
    if (rc != 0) return SK_FAIL(reterr, SK_EIO, "cannot find the address of %s: %s", to, gai_strerror(rc));
    struct sockaddr_in own = {0};
    socklen_t size = sizeof own;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                getsockname(fd, (struct sockaddr *)&own, &size) == 0;
    int error = errno;
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
    if (!good || !inet_ntop(AF_INET, &own.sin_addr, ret_address, INET_ADDRSTRLEN))
        return SK_FAIL(reterr, SK_EIO, "no way to %s: %s", to, strerror(error));
    return SK_OK;
}

/* The address of this host towards the others of the allocation; loopback if there are none. */
static sk_status find_own_address(const char *hosts, const char *here, char ret_address[INET_ADDRSTRLEN],
                                  sk_error *reterr) {
    sk_slurm_hosts all;
    SK_TRY(sk_slurm_hosts_init(hosts, &all, reterr));
    const char *other = NULL;
    for (int i = 0; i < all.n && !other; i++)
        if (!here || strcmp(all.names[i], here) != 0) other = all.names[i];
    sk_status status = SK_OK;
    sk_error why = {0};
    char address[SK_CLUSTER_NAME];
    strcpy(ret_address, "127.0.0.1");
    if (other) status = ask_address(other, address, sizeof address, &why);
    if (other && status == SK_OK) status = find_route(address, ret_address, &why);
    sk_slurm_hosts_deinit(&all);
    if (status == SK_OK) return SK_OK;
    return SK_FAIL(reterr, status, "%s; say by --bind tcp://ADDRESS:0 at which address the other hosts find this one",
                   why.msg);
}

/* "eth0" to its IPv4 address; false: no interface of that name. */
static bool find_interface(const char *name, char ret_address[INET_ADDRSTRLEN]) {
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) != 0) return false;
    for (const struct ifaddrs *at = all; at && !found; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || strcmp(at->ifa_name, name) != 0) continue;
        struct sockaddr_in address;
        memcpy(&address, at->ifa_addr, sizeof address);
        found = inet_ntop(AF_INET, &address.sin_addr, ret_address, INET_ADDRSTRLEN) != NULL;
    }
    freeifaddrs(all);
    return found;
}

/* A port nobody listens at. Somebody else may take it before the head does: then the head says so and ends. */
static sk_status find_port(const char *address, int *ret_port, sk_error *reterr) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t size = sizeof own;
    if (inet_pton(AF_INET, address, &own.sin_addr) != 1)
        return SK_FAIL(reterr, SK_EINVAL, "--bind: \"%s\" is no IPv4 address and no network interface of this host; "
                       "only such can have a port chosen", address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&own, sizeof own) == 0 &&
                getsockname(fd, (struct sockaddr *)&own, &size) == 0;
    int error = errno;
    if (fd >= 0) close(fd);
    if (!good) return SK_FAIL(reterr, SK_EIO, "cannot listen at %s: %s", address, strerror(error));
    *ret_port = ntohs(own.sin_port);
    return SK_OK;
}

/* "tcp://ADDRESS:PORT" apart; port 0: any. */
static sk_status read_endpoint(const char *text, char *ret_address, size_t size, int *ret_port, sk_error *reterr) {
    const char *colon = strrchr(text, ':'), *from = text + 6;
    char *end = NULL;
    long port = -1;
    if (strncmp(text, "tcp://", 6) == 0 && colon > from && (size_t)(colon - from) < size) {
        port = strcmp(colon + 1, "*") == 0 ? 0 : strtol(colon + 1, &end, 10);
        if (end && (end == colon + 1 || *end)) port = -1;
    }
    if (port < 0 || port > 65535)
        return SK_FAIL(reterr, SK_EINVAL, "--bind: got \"%s\", wanted tcp://ADDRESS:PORT (port 0: any free one)", text);
    memcpy(ret_address, from, (size_t)(colon - from));
    ret_address[colon - from] = '\0';
    *ret_port = (int)port;
    return SK_OK;
}

sk_status sk_cluster_check_bind(const char *wanted, sk_error *reterr) {
    char address[SK_CLUSTER_NAME];
    int port;
    return wanted ? read_endpoint(wanted, address, sizeof address, &port, reterr) : SK_OK;
}

sk_status sk_cluster_choose_bind(const char *wanted, const char *hosts, const char *here, char *ret_bind,
                                 char *ret_join, sk_error *reterr) {
    char address[SK_CLUSTER_NAME] = "", join[SK_CLUSTER_NAME], found[INET_ADDRSTRLEN];
    int port = 0;
    if (wanted) SK_TRY(read_endpoint(wanted, address, sizeof address, &port, reterr));
    bool everywhere = strcmp(address, "*") == 0 || strcmp(address, "0.0.0.0") == 0;
    if (everywhere) strcpy(address, "0.0.0.0");
    if (!wanted || everywhere) {
        SK_TRY(find_own_address(hosts, here, found, reterr));
        strcpy(join, found);
        if (!wanted) strcpy(address, found);
    } else {
        if (find_interface(address, found)) strcpy(address, found);
        strcpy(join, address);
    }
    if (port == 0) SK_TRY(find_port(address, &port, reterr));
    snprintf(ret_bind, SK_CLUSTER_ENDPOINT, "tcp://%s:%d", address, port);
    snprintf(ret_join, SK_CLUSTER_ENDPOINT, "tcp://%s:%d", join, port);
    return SK_OK;
}

#include "core/transport/link_endpoint.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SCHEME "tcp://"
enum { HOST_SIZE = 256, PORT_SIZE = 8 };

static sk_status malformed(const char *text, const char *what, sk_error *reterr) {
    return SK_FAIL(reterr, SK_EINVAL, "an endpoint reads tcp://ADDRESS:PORT; of '%.200s' %s", text, what);
}

/* Host (without brackets) and port, unchecked but for their characters. */
static sk_status split(const char *text, char ret_host[HOST_SIZE], char ret_port[PORT_SIZE], sk_error *reterr) {
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:%*[]";
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0) return malformed(text, "the beginning is something else", reterr);
    const char *host = text + strlen(SCHEME), *colon = strrchr(host, ':');
    if (strspn(host, allowed) != strlen(host)) return malformed(text, "a character is in no address", reterr);
    if (!colon || colon == host) return malformed(text, "the address or the port is missing", reterr);
    size_t n = (size_t)(colon - host);
    bool   in_brackets = host[0] == '[' && host[n - 1] == ']' && n > 2;
    if (in_brackets) {
        host++;
        n -= 2;
    } else if (memchr(host, ':', n) || memchr(host, '[', n) || memchr(host, ']', n))
        return malformed(text, "the address is of IPv6, which belongs in [ ]", reterr);
    if (n >= HOST_SIZE || strlen(colon + 1) >= PORT_SIZE) return malformed(text, "a part is too long", reterr);
    memcpy(ret_host, host, n);
    ret_host[n] = 0;
    strcpy(ret_port, colon + 1);
    return SK_OK;
}

static bool port_is_good(const char *port, sk__endpoint_use use) {
    if (use == SK__TO_LISTEN && strcmp(port, "*") == 0) return true;
    if (!*port || strspn(port, "0123456789") != strlen(port)) return false;
    long number = strtol(port, NULL, 10);
    return number <= 65535 && (number > 0 || use == SK__TO_LISTEN);
}

/* In numbers? Then what it is. */
static bool look_at(const char *host, bool *ret_ipv6, bool *ret_loopback) {
    struct in_addr  v4;
    struct in6_addr v6;
    char            address[HOST_SIZE];
    snprintf(address, sizeof address, "%s", host);
    address[strcspn(address, "%")] = 0; /* fe80::1%eth0 */
    if (inet_pton(AF_INET, host, &v4) == 1) {
        *ret_ipv6 = false;
        *ret_loopback = ntohl(v4.s_addr) >> 24 == 127;
        return true;
    }
    if (inet_pton(AF_INET6, address, &v6) != 1) return false;
    *ret_ipv6 = true;
    *ret_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
    return true;
}

/* A name in numbers, of IPv4 where it has such an address. Gives getaddrinfo's result. */
static int look_up(const char *host, char ret_address[HOST_SIZE]) {
    static const int families[] = {AF_INET, AF_INET6};
    int              rc = EAI_NONAME;
    for (int i = 0; i < SK_COUNT(families) && rc != 0; i++) {
        struct addrinfo wanted = {.ai_family = families[i], .ai_socktype = SOCK_STREAM}, *found = NULL;
        rc = getaddrinfo(host, NULL, &wanted, &found);
        if (rc != 0) continue;
        rc = getnameinfo(found->ai_addr, found->ai_addrlen, ret_address, HOST_SIZE, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    return rc;
}

sk_status sk__endpoint_parse(const char *text, sk__endpoint_use use, sk__endpoint *ret_endpoint, sk_error *reterr) {
    SK_ASSERT(text && ret_endpoint);
    char         host[HOST_SIZE], port[PORT_SIZE], address[HOST_SIZE];
    sk__endpoint endpoint = {0};
    SK_TRY(split(text, host, port, reterr));
    if (!port_is_good(port, use))
        return malformed(text, use == SK__TO_LISTEN ? "the port is no number of 0 to 65535, and not *"
                                                    : "the port is no number of 1 to 65535", reterr);
    bool is_any = strcmp(host, "*") == 0;
    if (is_any && use == SK__TO_CONNECT) return malformed(text, "the address is none that one can connect to", reterr);
    bool is_numeric = look_at(host, &endpoint.wants_ipv6, &endpoint.is_loopback);
    if (is_any) endpoint.wants_ipv6 = true; /* and IPv4: libzmq listens for both */
    else if (!is_numeric && (use == SK__TO_CONNECT || if_nametoindex(host) == 0)) {
        /* whom to connect to is looked up by libzmq, each time anew */
        int rc = look_up(host, address);
        if (rc != 0 && use == SK__TO_LISTEN)
            return SK_FAIL(reterr, SK_ENOTFOUND, "cannot listen at %s: %s", text, gai_strerror(rc));
        if (rc == 0) (void)look_at(address, &endpoint.wants_ipv6, &endpoint.is_loopback);
        bool is_localhost = strcmp(host, "localhost") == 0;
        if (use == SK__TO_CONNECT && !is_localhost) endpoint.is_loopback = false;
        else if (rc == 0) strcpy(host, address);
    }
    bool in_brackets = strchr(host, ':') != NULL;
    snprintf(endpoint.text, sizeof endpoint.text, SCHEME "%s%s%s:%s", in_brackets ? "[" : "", host,
             in_brackets ? "]" : "", strcmp(port, "0") == 0 ? "*" : port);
    *ret_endpoint = endpoint;
    return SK_OK;
}

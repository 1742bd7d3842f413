/* skiff version: what this program is and what it runs on; results are promised per kernels and libraries. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/commit.h"
#include "cli/exit_code.h"
#include "nn/plan.h"
#include "rl/json_line.h"
#include "rl/version.h"

#include <gnu/libc-version.h>
#include <jansson.h>
#include <libfyaml.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static sk_status write_all(sk_json_line *line, sk_error *reterr) {
    sk_device *device = NULL;
    SK_TRY(sk_device_create_cpu(1, &device, reterr));
    sk_json_line_text(line, "skiff", sk_version());
    sk_json_line_text(line, "commit", SKIFF_COMMIT[0] ? SKIFF_COMMIT : NULL);
    sk_json_line_text(line, "device", sk_device_name(device));
    sk_json_line_text(line, "compiler", __VERSION__);
    sk_json_line_text(line, "libc", gnu_get_libc_version());
    sk_json_line_text(line, "libfyaml", fy_library_version());
    sk_json_line_text(line, "jansson", jansson_version_str());
    sk_json_line_text(line, "sodium", sodium_version_string());
    sk_device_destroy(&device);
    return SK_OK;
}

/* For people: "name value" from the same object. */
static void print_rows(const char *text) {
    json_t *json = json_loads(text, 0, NULL), *value;
    const char *name;
    json_object_foreach(json, name, value) {
        if (json_is_string(value)) printf("%-10s%s\n", name, json_string_value(value));
    }
    json_decref(json);
}

int sk_cmd_version(int argc, char **argv) {
    bool json = false;
    sk_arg options[] = {{"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object"}};
    sk_args args = {.usage = "skiff version [--json]", .args = options, .n_args = SK_COUNT(options)};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    sk_json_line line;
    sk_error err = {0};
    char *text = NULL;
    sk_json_line_init(&line);
    sk_status status = write_all(&line, &err);
    if (status == SK_OK) status = sk_json_line_finish(&line, &text, &err);
    sk_json_line_deinit(&line);
    if (status != SK_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return SK_EXIT_FAILED;
    }
    if (json)
        printf("%s\n", text);
    else
        print_rows(text);
    free(text);
    return SK_EXIT_DONE;
}

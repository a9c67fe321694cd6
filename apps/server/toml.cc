/* Reads a TOML file with toml++. The one piece of C++ in the tree: no C library in Debian 12 reads all of TOML 1.0. */
#define TOML_HEADER_ONLY 0
#include "toml.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <toml++/toml.h>
#include <vector>

namespace
{
struct walk {
    bool (*take)(void *ctx, const toml_value *value, char *error);
    void *ctx;
    char *error;
};

bool give(const walk &walk, const std::string &path, const toml::node &node)
{
    toml_value value = {};
    std::vector<std::string> texts;
    std::vector<const char *> pointers;
    std::string text;

    value.path = path.c_str();
    value.line = static_cast<int>(node.source().begin.line);
    value.kind = node.is_table() ? TOML_EMPTY_TABLE : TOML_OTHER;
    if (auto boolean = node.as_boolean()) {
        value.kind = TOML_BOOL;
        value.boolean = boolean->get();
    } else if (auto integer = node.as_integer()) {
        value.kind = TOML_INTEGER;
        value.integer = integer->get();
        value.number = static_cast<double>(integer->get());
    } else if (auto number = node.as_floating_point()) {
        value.kind = TOML_FLOAT;
        value.number = number->get();
    } else if (auto string = node.as_string()) {
        value.kind = TOML_STRING;
        text = string->get();
        value.text = text.c_str();
        if (std::strlen(value.text) != text.size())
            value.kind = TOML_OTHER; /* a NUL inside */
    } else if (auto array = node.as_array()) {
        value.kind = TOML_STRINGS;
        for (const toml::node &each : *array) {
            auto item = each.as_string();
            if (item == nullptr || std::strlen(item->get().c_str()) != item->get().size()) {
                value.kind = TOML_OTHER;
                break;
            }
            texts.push_back(item->get());
        }
        for (const std::string &each : texts)
            pointers.push_back(each.c_str());
        value.texts = pointers.data();
        value.text_count = pointers.size();
    }
    return walk.take(walk.ctx, &value, walk.error);
}

bool visit(const walk &walk, const std::string &path, const toml::table &table)
{
    for (auto &&[key, node] : table) {
        std::string name = path.empty() ? std::string(key.str()) : path + "." + std::string(key.str());

        if (auto inner = node.as_table()) {
            if (inner->empty() ? !give(walk, name, node) : !visit(walk, name, *inner))
                return false;
        } else if (!give(walk, name, node)) {
            return false;
        }
    }
    return true;
}
} // namespace

extern "C" bool toml_read(const char *file, bool (*take)(void *ctx, const toml_value *value, char *error), void *ctx,
                          char *error)
{
    try {
        toml::table table = toml::parse_file(file);

        return visit(walk { take, ctx, error }, "", table);
    } catch (const toml::parse_error &problem) {
        std::snprintf(error, TOML_ERROR_SIZE, "%s:%d: %.*s", file, static_cast<int>(problem.source().begin.line),
                      static_cast<int>(problem.description().size()), problem.description().data());
    } catch (const std::exception &problem) {
        std::snprintf(error, TOML_ERROR_SIZE, "%s: %s", file, problem.what());
    }
    return false;
}

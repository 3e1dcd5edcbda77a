#include "tests/base/raw_h5.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace lava::test {

namespace {

constexpr const char* layer_paths[] = {"/layers/00/", "/layers/01/"};

void raw_layer(hid_t file, const std::string& folder)
{
    const auto at = [&](const char* name) { return folder + name; };
    raw_floats(file, at("k").c_str(), {2, 6, 3});
    raw_floats(file, at("v").c_str(), {2, 6, 3});
    raw_floats(file, at("q_window").c_str(), {4, 2, 3});
    raw_floats(file, at("observed_attention").c_str(), {4, 6});
    raw_floats(file, at("observed_attention_off_diagonal").c_str(), {4, 6});
    raw_floats(file, at("w_o").c_str(), {5, 12});
    raw_floats(file, at("b_o").c_str(), {5});
    raw_floats(file, at("q_eval").c_str(), {4, 2, 3});
    raw_floats(file, at("k_eval").c_str(), {2, 2, 3});
    raw_floats(file, at("v_eval").c_str(), {2, 2, 3});
    for (const auto* name : {"resid_pre", "attn_out", "resid_mid", "mlp_out"})
        raw_floats(file, at(name).c_str(), {2, 5});
}

void raw_tokens(hid_t file)
{
    const std::int64_t ids[] = {1, 2, 3, 4, 5, 6};
    const std::int64_t offsets[] = {0, 1, 2, 4, 4, 5, 6, 7, 8};
    const std::int64_t spans[] = {1, 3};
    raw_dataset(file, "/tokens/prompt_ids", H5T_STD_I64LE, {6}, ids);
    raw_dataset(file, "/tokens/eval_ids", H5T_STD_I64LE, {2}, ids);
    raw_dataset(file, "/tokens/text_bytes", H5T_STD_U8LE, {8},
        "ab\xc3\xa9"
        "defg");
    raw_dataset(file, "/tokens/text_offsets", H5T_STD_I64LE, {9}, offsets);
    raw_dataset(file, "/spans", H5T_STD_I64LE, {1, 2}, spans);
    raw_attribute(file, "/spans", "names", R"(["needle"])");
}

} // namespace

void raw_attribute(hid_t file, const char* object, const char* name, std::int64_t value)
{
    raw_delete_attribute(file, object, name);
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute
        = H5Acreate_by_name(file, object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, &value), 0);
    H5Aclose(attribute);
    H5Sclose(space);
}

void raw_attribute(hid_t file, const char* object, const char* name, const char* value)
{
    raw_delete_attribute(file, object, name);
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    const hid_t attribute = H5Acreate_by_name(file, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Awrite(attribute, type, &value), 0);
    H5Aclose(attribute);
    H5Tclose(type);
    H5Sclose(space);
}

void raw_delete_attribute(hid_t file, const char* object, const char* name)
{
    if (H5Aexists_by_name(file, object, name, H5P_DEFAULT) > 0)
        H5Adelete_by_name(file, object, name, H5P_DEFAULT);
}

void raw_dataset(hid_t file, const char* path, hid_t type, const std::vector<hsize_t>& shape, const void* values)
{
    raw_delete(file, path);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t dataset = H5Dcreate2(file, path, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(dataset, 0) << path;
    if (values != nullptr) {
        EXPECT_GE(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0) << path;
    }
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(links);
}

void raw_floats(hid_t file, const char* path, const std::vector<hsize_t>& shape, std::vector<float> values)
{
    std::size_t count = 1;
    for (const auto extent : shape)
        count *= extent;
    for (auto i = values.size(); i < count; ++i)
        values.push_back(0.25F * static_cast<float>(i + 1));
    raw_dataset(file, path, H5T_IEEE_F32LE, shape, values.data());
}

void raw_delete(hid_t file, const char* path)
{
    const std::string name(path);
    for (auto slash = name.find('/', 1); slash != std::string::npos; slash = name.find('/', slash + 1))
        if (H5Lexists(file, name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0)
            return;
    if (H5Lexists(file, path, H5P_DEFAULT) > 0)
        H5Ldelete(file, path, H5P_DEFAULT);
}

std::vector<hsize_t> raw_shape(hid_t file, const char* path)
{
    const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    const hid_t space = H5Dget_space(dataset);
    std::vector<hsize_t> shape(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
    H5Sget_simple_extent_dims(space, shape.data(), nullptr);
    H5Sclose(space);
    H5Dclose(dataset);
    return shape;
}

std::vector<float> raw_read_floats(hid_t file, const char* path)
{
    std::size_t count = 1;
    for (const auto extent : raw_shape(file, path))
        count *= extent;
    std::vector<float> values(count);
    const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << path;
    H5Dclose(dataset);
    return values;
}

std::int64_t raw_read_int(hid_t file, const char* object, const char* name)
{
    std::int64_t value = -1;
    const hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Aread(attribute, H5T_NATIVE_INT64, &value), 0) << object << ' ' << name;
    H5Aclose(attribute);
    return value;
}

std::string raw_read_string(hid_t file, const char* object, const char* name)
{
    char* value = nullptr;
    const hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t type = H5Aget_type(attribute);
    EXPECT_GE(H5Aread(attribute, type, &value), 0) << object << ' ' << name;
    const std::string text = value != nullptr ? value : "";
    H5free_memory(value);
    H5Tclose(type);
    H5Aclose(attribute);
    return text;
}

std::filesystem::path raw_trace(const std::filesystem::path& file, const std::function<void(hid_t)>& edit)
{
    const hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    for (const auto* group : {"/model", "/run"})
        H5Gclose(H5Gcreate2(id, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    raw_attribute(id, "/", "format", "lava-trace");
    raw_attribute(id, "/", "format_major", std::int64_t(1));
    raw_attribute(id, "/", "format_minor", std::int64_t(0));
    for (const auto& [name, value] : {std::pair{"num_layers", 2}, {"num_heads", 4}, {"num_kv_heads", 2},
             {"head_dim", 3}, {"hidden_size", 5}, {"vocab_size", 7}})
        raw_attribute(id, "/model", name, std::int64_t(value));
    raw_attribute(id, "/model", "name", "by hand");
    for (const auto& [name, value] : {std::pair{"seq_len", 6}, {"eval_len", 2}, {"window", 2}})
        raw_attribute(id, "/run", name, std::int64_t(value));
    raw_tokens(id);
    for (const auto* folder : layer_paths)
        raw_layer(id, folder);
    raw_floats(id, "/logits", {2, 7});
    edit(id);
    H5Fclose(id);
    return file;
}

std::string error_of(const std::function<void()>& action)
{
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    ADD_FAILURE() << "expected an Error, found none";
    return {};
}

} // namespace lava::test

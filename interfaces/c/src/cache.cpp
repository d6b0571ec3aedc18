#include "ophis/models/cache_file.hpp"

#include "interfaces/c/src/errors.hpp"
#include "interfaces/c/src/handles.hpp"
#include "interfaces/c/src/members.hpp"
#include "interfaces/c/src/tensor.hpp"

using namespace ophis::c;

ophis_cache::ophis_cache(ophis::ModelCache states) : cache(std::move(states)) {
  for (std::int64_t i = 0; i < cache.layers(); ++i) {
    conv.push_back(std::make_unique<TensorView>(cache.layer(i).conv()));
    ssm.push_back(std::make_unique<TensorView>(cache.layer(i).ssm));
  }
}

void ophis::c::convert(ophis_cache* from, ModelCache*& to) { to = from ? &from->cache : nullptr; }

ophis_status ophis_cache_create(const ophis_model* model, int64_t batch, const ophis_dtype* state_dtype,
                                ophis_cache** cache) {
  return guarded(__func__, [&] {
    ophis_cache*& result = require(cache, "cache");
    const ophis::DType dtype = state_dtype ? to_dtype(*state_dtype) : ophis::DType::float32;
    result = new ophis_cache(require(model, "model").model.make_cache(batch, dtype));
  });
}

void ophis_cache_destroy(ophis_cache* cache) { delete cache; }

ophis_status ophis_cache_copy(ophis_context* context, const ophis_cache* from, ophis_cache* to) {
  return guarded(__func__, [&] {
    require(to, "to").cache.copy_from(require(context, "context").exec, require(from, "from").cache);
  });
}

ophis_status ophis_cache_reset(ophis_context* context, ophis_cache* cache) {
  return guarded(__func__, [&] { require(cache, "cache").cache.reset(require(context, "context").exec); });
}

ophis_status ophis_cache_save(ophis_context* context, const ophis_model* model, const ophis_cache* cache,
                              const char* path) {
  return guarded(__func__, [&] {
    ophis::save_cache(require(context, "context").exec, &require(path, "path"), require(model, "model").model,
                      require(cache, "cache").cache);
  });
}

ophis_status ophis_cache_load(ophis_context* context, const ophis_model* model, ophis_cache* cache,
                              const char* path) {
  return guarded(__func__, [&] {
    ophis::load_cache(require(context, "context").exec, &require(path, "path"), require(model, "model").model,
                      require(cache, "cache").cache);
  });
}

ophis_status ophis_cache_batch(const ophis_cache* cache, int64_t* batch) {
  return guarded(__func__, [&] { require(batch, "batch") = require(cache, "cache").cache.batch(); });
}

ophis_status ophis_cache_seqlen(const ophis_cache* cache, int64_t* seqlen) {
  return guarded(__func__, [&] { require(seqlen, "seqlen") = require(cache, "cache").cache.seqlen(); });
}

ophis_status ophis_cache_state(const ophis_cache* cache, int64_t layer, const ophis_tensor** conv,
                               const ophis_tensor** ssm) {
  return guarded(__func__, [&] {
    const ophis_cache& states = require(cache, "cache");
    OPHIS_REQUIRE(layer >= 0 && layer < states.cache.layers(), "layer is ", layer, ", but the cache has ",
                  states.cache.layers());
    if (conv) *conv = states.conv[static_cast<std::size_t>(layer)].get();
    if (ssm) *ssm = states.ssm[static_cast<std::size_t>(layer)].get();
  });
}

// Where the hub and its cache are, as the environment says.
#pragma once

#include <filesystem>
#include <string>

namespace ophis::hub {

/// The variables, their order and their defaults are those of huggingface_hub (its constants.py).
struct Settings {
  std::filesystem::path cache;  ///< HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, or hub/ in HF_HOME
  std::string endpoint;         ///< HF_ENDPOINT, without a slash at the end
  std::string token;            ///< HF_TOKEN, or what the file HF_TOKEN_PATH holds; may be empty
  bool offline = false;         ///< HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE

  static Settings from_environment();
};

}  // namespace ophis::hub

---@brief
---
--- pass-lsp: local code completion, several lines at a time. `vim.lsp.enable('pass_lsp')` is all
--- that it needs; `:help pass_lsp` lists the settings, `:checkhealth pass_lsp` says what is wrong.
---
--- Without `filetypes` it attaches to every file that has one; `disabled_languages` takes some out.

vim.cmd.runtime('plugin/pass_lsp.lua') -- for a folder that joined 'runtimepath' after start-up

---@type vim.lsp.Config
return {
  cmd = { 'pass-lsp', 'serve', '--stdio' },
  root_markers = { '.pass-lsp.toml', '.git', 'pyproject.toml' },
  before_init = function(params, config)
    -- The server loads its model as soon as it is initialized: it has to know by then which one.
    local settings = config.settings or {}
    if vim.tbl_isempty(settings['pass-lsp'] or {}) then
      settings['pass-lsp'] = vim.empty_dict() -- here and in what is sent later: `{}` goes out as a list
    end
    params.initializationOptions = { ['pass-lsp'] = settings['pass-lsp'] }
    -- Neovim 0.11 does not say that suggestions are drawn, as this plugin has them there. The server would
    -- have them for menus too, and of two requests for one place it answers the later one only.
    local can = params.capabilities.textDocument
    can.inlineCompletion = can.inlineCompletion or { dynamicRegistration = false }
  end,
  on_attach = function(client, buf)
    require('pass_lsp').attach(client, buf)
  end,
  handlers = {
    didChangeStatus = function(_, status, ctx)
      require('pass_lsp').heard(ctx.client_id, status)
    end,
  },
}

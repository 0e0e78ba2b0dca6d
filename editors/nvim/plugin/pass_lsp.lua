if vim.g.loaded_pass_lsp then
  return
end
vim.g.loaded_pass_lsp = true

local plugs = {
  accept = function(pass_lsp)
    pass_lsp.accept()
  end,
  ['accept-word'] = function(pass_lsp)
    pass_lsp.accept('word')
  end,
  ['accept-line'] = function(pass_lsp)
    pass_lsp.accept('line')
  end,
  dismiss = function(pass_lsp)
    pass_lsp.dismiss()
  end,
  next = function(pass_lsp)
    pass_lsp.cycle(1)
  end,
  previous = function(pass_lsp)
    pass_lsp.cycle(-1)
  end,
}
for name, act in pairs(plugs) do
  vim.keymap.set('i', ('<Plug>(pass-lsp-%s)'):format(name), function()
    act(require('pass_lsp'))
  end, { desc = ('pass-lsp: %s'):format(name:gsub('-', ' ')) })
end

vim.api.nvim_create_user_command('PassLsp', function(command)
  require('pass_lsp.commands').run(command.args)
end, {
  nargs = 1,
  desc = 'status, stats, toggle or restart of pass-lsp',
  complete = function(start)
    return require('pass_lsp.commands').complete(start)
  end,
})

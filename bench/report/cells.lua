-- SPDX-License-Identifier: GPL-2.0
-- For pandoc: the class "no" for the contents of table cells that are unreliable
-- ("? [low-high]"), "missing", "missed: ..." or "FAIL"; the class "plots" for a
-- paragraph that is nothing but images.

local function bad(text)
  return text:find("^%? ") or text:find("^missing") or text:find("^missed") or text == "FAIL"
end

local function mark(blocks)
  local text = pandoc.utils.stringify(blocks)
  if not bad(text) then return nil end
  return blocks:walk({ Plain = function(p)
    return pandoc.Plain(pandoc.Span(p.content, pandoc.Attr("", { "no" })))
  end })
end

function Table(t)
  for _, body in ipairs(t.bodies) do
    for _, row in ipairs(body.body) do
      for _, cell in ipairs(row.cells) do
        cell.contents = mark(cell.contents) or cell.contents
      end
    end
  end
  return t
end

function Para(p)
  for _, inline in ipairs(p.content) do
    if inline.t ~= "Image" and inline.t ~= "SoftBreak" then return nil end
  end
  return pandoc.Div(p, pandoc.Attr("", { "plots" }))
end

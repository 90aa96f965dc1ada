# METADATA
# title: Tools
# description: What the catalog says of the proposed tool, in the terms that several topics need
package interlock.tools

# METADATA
# description: The tool does nothing but read. Whatever is not declared so may change the world
only_reads if input.tool.effects == ["read"]

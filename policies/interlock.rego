# METADATA
# title: Interlock
# description: |
#   Every package below this one is checked against the schema of the input document, so that a rule over
#   a field that does not exist fails `opa check --schema` instead of silently never firing.
# scope: subpackages
# schemas:
#   - input: schema.input
package interlock

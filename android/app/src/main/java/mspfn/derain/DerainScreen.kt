package mspfn.derain

import android.graphics.Bitmap
import androidx.compose.foundation.Canvas
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.aspectRatio
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Slider
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableFloatStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.graphics.drawscope.clipRect
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.IntSize
import androidx.compose.ui.unit.dp

@Composable
fun DerainScreen(state: State, onChoose: () -> Unit, onPhotograph: () -> Unit) {
    Surface(Modifier.fillMaxSize()) {
        Column(
            Modifier.safeDrawingPadding().verticalScroll(rememberScrollState()).padding(16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            Row(horizontalArrangement = Arrangement.spacedBy(12.dp)) {
                Button(onChoose, enabled = !state.busy) { Text(stringResource(R.string.choose)) }
                OutlinedButton(onPhotograph, enabled = !state.busy) {
                    Text(stringResource(R.string.photograph))
                }
            }
            Text(state.status)
            if (state.busy) LinearProgressIndicator(Modifier.fillMaxWidth())
            state.before?.let { Comparison(it, state.after ?: it) }
        }
    }
}

/** Before and after in one frame; the slider moves the line between them. */
@Composable
private fun Comparison(before: Bitmap, after: Bitmap) {
    var position by remember { mutableFloatStateOf(0.5f) }
    val pictures = remember(before, after) { before.asImageBitmap() to after.asImageBitmap() }
    val label = stringResource(R.string.compare)
    Canvas(
        Modifier
            .fillMaxWidth()
            .aspectRatio(before.width.toFloat() / before.height)
            .semantics { contentDescription = label },
    ) {
        val whole = IntSize(size.width.toInt(), size.height.toInt())
        val line = size.width * position
        drawImage(pictures.first, dstSize = whole)
        clipRect(left = line) { drawImage(pictures.second, dstSize = whole) }
        drawRect(Color.White, topLeft = center.copy(x = line - 1f, y = 0f), size = size.copy(width = 2f))
    }
    Slider(position, { position = it }, Modifier.semantics { contentDescription = label })
}
